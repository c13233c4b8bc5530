//! Payment files by ISO 20022: the seller's collection from its buyers (`pain.008.001.08`), and a buyer's transfer to the
//! seller (`pain.001.001.09`). One entry an unpaid invoice.
//!
//! The same invoices make the same file but for the time it was made: its name and those of its entries follow from the
//! invoices, so that a bank that is given it twice can tell. What is in the element order of the schemas stays in it.

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use tollway_core::extension::format_timestamp;
use tollway_core::{Amount, UnixTime};
use tollway_seller::{BankAccount, Invoice};

use super::xml::Xml;

/// The most entries in one file.
const MAX_ENTRIES: usize = 9_999;
/// Atomic units of a hundredth.
const CENT: u64 = 10_000;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A direct debit, for the seller's bank.
    Collection,
    /// A credit transfer, for one buyer's bank.
    Transfer,
}

/// Invoices that a bank is to move money for, each with the account of who owes it.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) message: Message,
    pub(super) creditor: &'a BankAccount,
    pub(super) entries: Vec<(&'a Invoice, &'a BankAccount)>,
    /// The day on which money is to move: `2026-01-31`.
    pub(super) on: &'a str,
    pub(super) now: UnixTime,
}

impl File<'_> {
    /// The whole document.
    pub(super) fn write(&self) -> anyhow::Result<String> {
        let Some((first, debtor)) = self.entries.first() else {
            bail!("nothing is unpaid: there is no file")
        };
        ensure!(self.entries.len() <= MAX_ENTRIES, "at most {MAX_ENTRIES} invoices fit one file");
        ensure!(
            self.entries.iter().all(|(one, _)| one.currency == first.currency),
            "one file has one currency"
        );
        let is_one = self.entries.iter().all(|(_, other)| other == debtor);
        let sum = cents(self.entries.iter().map(|(invoice, _)| invoice.amount))?;
        let (root, space, method) = match self.message {
            Message::Collection => ("CstmrDrctDbtInitn", "pain.008.001.08", "DD"),
            Message::Transfer => ("CstmrCdtTrfInitn", "pain.001.001.09", "TRF"),
        };
        ensure!(self.message == Message::Collection || is_one, "a transfer is one buyer's: name the account");
        let name = self.name();
        let initiator = if self.message == Message::Collection { self.creditor } else { debtor };
        let mut xml = Xml::new(&format!("urn:iso:std:iso:20022:tech:xsd:{space}"));
        xml.open(root);
        xml.open("GrpHdr");
        xml.leaf("MsgId", &name);
        xml.leaf("CreDtTm", &format_timestamp(self.now).replace(".000Z", "Z"));
        xml.leaf("NbOfTxs", &self.entries.len().to_string());
        xml.leaf("CtrlSum", &sum);
        xml.within(&["InitgPty"], "Nm", &text(&initiator.name, 140));
        xml.close();
        xml.open("PmtInf");
        xml.leaf("PmtInfId", &format!("{name}-1"));
        xml.leaf("PmtMtd", method);
        xml.leaf("NbOfTxs", &self.entries.len().to_string());
        xml.leaf("CtrlSum", &sum);
        match self.message {
            Message::Collection => self.collection(&mut xml, &first.currency)?,
            Message::Transfer => self.transfer(&mut xml, debtor)?,
        }
        Ok(xml.finish())
    }

    /// Follows from the invoices alone.
    fn name(&self) -> String {
        let mut hash = Sha256::new();
        self.entries.iter().for_each(|(invoice, _)| hash.update(&invoice.id));
        let digest: String = hash.finalize().iter().take(14).map(|byte| format!("{byte:02x}")).collect();
        format!("TW-{digest}")
    }

    fn collection(&self, xml: &mut Xml, currency: &str) -> anyhow::Result<()> {
        // SEPA's business scheme is for euros; what else a bank collects is agreed with it.
        if currency == "EUR" {
            xml.open("PmtTpInf");
            xml.within(&["SvcLvl"], "Cd", "SEPA");
            xml.within(&["LclInstrm"], "Cd", "B2B");
            xml.leaf("SeqTp", "RCUR");
            xml.close();
        }
        xml.leaf("ReqdColltnDt", self.on);
        party(xml, ["Cdtr", "CdtrAcct", "CdtrAgt"], self.creditor);
        xml.leaf("ChrgBr", "SLEV");
        let id =
            self.creditor.creditor_id.as_deref().context("the accounts file has no creditor.creditor_id")?;
        for name in ["CdtrSchmeId", "Id", "PrvtId", "Othr"] {
            xml.open(name);
        }
        xml.leaf("Id", id);
        xml.within(&["SchmeNm"], "Prtry", "SEPA");
        (0..4).for_each(|_| xml.close());
        for (invoice, debtor) in &self.entries {
            let mandate = debtor.mandate.as_ref();
            let mandate =
                mandate.with_context(|| format!("account {} has no bank.mandate", invoice.account))?;
            xml.open("DrctDbtTxInf");
            xml.within(&["PmtId"], "EndToEndId", &end_to_end(invoice));
            xml.leaf_with("InstdAmt", ("Ccy", currency), &cents([invoice.amount].into_iter())?);
            xml.open("DrctDbtTx");
            xml.open("MndtRltdInf");
            xml.leaf("MndtId", &mandate.id);
            xml.leaf("DtOfSgntr", &mandate.signed_on);
            xml.close();
            xml.close();
            agent(xml, "DbtrAgt", debtor);
            xml.within(&["Dbtr"], "Nm", &text(&debtor.name, 140));
            xml.within(&["DbtrAcct", "Id"], "IBAN", &debtor.iban);
            xml.within(&["RmtInf"], "Ustrd", &remittance(invoice));
            xml.close();
        }
        Ok(())
    }

    fn transfer(&self, xml: &mut Xml, debtor: &BankAccount) -> anyhow::Result<()> {
        xml.within(&["ReqdExctnDt"], "Dt", self.on);
        party(xml, ["Dbtr", "DbtrAcct", "DbtrAgt"], debtor);
        xml.leaf("ChrgBr", "SLEV");
        for (invoice, _) in &self.entries {
            xml.open("CdtTrfTxInf");
            xml.within(&["PmtId"], "EndToEndId", &end_to_end(invoice));
            xml.open("Amt");
            xml.leaf_with("InstdAmt", ("Ccy", &invoice.currency), &cents([invoice.amount].into_iter())?);
            xml.close();
            if self.creditor.bic.is_some() {
                agent(xml, "CdtrAgt", self.creditor);
            }
            xml.within(&["Cdtr"], "Nm", &text(&self.creditor.name, 140));
            xml.within(&["CdtrAcct", "Id"], "IBAN", &self.creditor.iban);
            xml.within(&["RmtInf"], "Ustrd", &remittance(invoice));
            xml.close();
        }
        Ok(())
    }
}

fn party(xml: &mut Xml, [who, account, bank]: [&'static str; 3], of: &BankAccount) {
    xml.within(&[who], "Nm", &text(&of.name, 140));
    xml.within(&[account, "Id"], "IBAN", &of.iban);
    agent(xml, bank, of);
}

/// The bank: by its BIC, or by saying that the IBAN is enough.
fn agent(xml: &mut Xml, name: &'static str, of: &BankAccount) {
    match &of.bic {
        Some(bic) => xml.within(&[name, "FinInstnId"], "BICFI", bic),
        None => xml.within(&[name, "FinInstnId", "Othr"], "Id", "NOTPROVIDED"),
    }
}

/// At most 35 characters, the same for the same invoice.
fn end_to_end(invoice: &Invoice) -> String {
    let digest: String =
        Sha256::digest(&invoice.id).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("INV-{digest}")
}

fn remittance(invoice: &Invoice) -> String {
    text(&format!("Invoice {} of account {}", invoice.number, invoice.account), 140)
}

/// A sum as these files have it: two decimals, a point, no sign.
fn cents(amounts: impl Iterator<Item = Amount>) -> anyhow::Result<String> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        sum = sum.checked_add(amount).context("the sum is too large")?;
    }
    let (whole, rest) =
        (sum.atomic() / Amount::from(CENT).atomic(), sum.atomic() % Amount::from(CENT).atomic());
    ensure!(Amount::from_atomic(rest) == Amount::ZERO, "an invoice is not in whole cents");
    ensure!(Amount::from_atomic(whole) != Amount::ZERO, "an invoice is for nothing");
    let whole = Amount::from_atomic(whole).to_string();
    ensure!(whole.len() <= 11, "a bank moves no such sum: {whole} cents");
    let padded = format!("{whole:0>3}");
    let (units, hundredths) = padded.split_at(padded.len().saturating_sub(2));
    Ok(format!("{units}.{hundredths}"))
}

/// Text of the characters that every bank takes, and no more of them than fit.
fn text(from: &str, most: usize) -> String {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || " /-?:().,'+".contains(c);
    let plain = |c: char| if is_taken(c) { c } else { '.' };
    let text: String = from.trim().chars().map(plain).take(most).collect();
    // A slash neither begins nor ends a text, and there are no two of them together.
    text.replace("//", "/").trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use tollway_core::UnixTime;
    use tollway_seller::{BankAccount, Invoice, Mandate};

    use super::{File, Message, cents, text};

    fn bank(name: &str, iban: &str) -> BankAccount {
        let mandate = Some(Mandate { id: "M-1".to_owned(), signed_on: "2025-12-01".to_owned() });
        let creditor_id = Some("DE98ZZZ09999999999".to_owned());
        BankAccount {
            name: name.to_owned(),
            iban: iban.to_owned(),
            bic: Some("DEUTDEFF".to_owned()),
            creditor_id,
            mandate,
        }
    }

    fn invoice(number: u64, amount: u64) -> Invoice {
        Invoice {
            id: format!("inv_acme_{number}_00"),
            account: "acme".to_owned(),
            number,
            amount: amount.into(),
            through: amount.into(),
            currency: "EUR".to_owned(),
            issued_at: UnixTime(0),
            due_at: UnixTime(0),
            is_paid: false,
        }
    }

    /// The names of elements in the order of the schema, of those that we write; those in brackets hold others.
    const COLLECTION: &str = "Document( CstmrDrctDbtInitn( GrpHdr( MsgId CreDtTm NbOfTxs CtrlSum InitgPty( Nm ) ) \
        PmtInf( PmtInfId PmtMtd NbOfTxs CtrlSum PmtTpInf( SvcLvl( Cd ) LclInstrm( Cd ) SeqTp ) ReqdColltnDt \
        Cdtr( Nm ) CdtrAcct( Id( IBAN ) ) CdtrAgt( FinInstnId( BICFI ) ) ChrgBr CdtrSchmeId( Id( PrvtId( Othr( Id \
        SchmeNm( Prtry ) ) ) ) ) DrctDbtTxInf( PmtId( EndToEndId ) InstdAmt DrctDbtTx( MndtRltdInf( MndtId DtOfSgntr ) ) \
        DbtrAgt( FinInstnId( BICFI ) ) Dbtr( Nm ) DbtrAcct( Id( IBAN ) ) RmtInf( Ustrd ) ) \
        DrctDbtTxInf( PmtId( EndToEndId ) InstdAmt DrctDbtTx( MndtRltdInf( MndtId DtOfSgntr ) ) \
        DbtrAgt( FinInstnId( BICFI ) ) Dbtr( Nm ) DbtrAcct( Id( IBAN ) ) RmtInf( Ustrd ) ) ) ) )";
    const TRANSFER: &str = "Document( CstmrCdtTrfInitn( GrpHdr( MsgId CreDtTm NbOfTxs CtrlSum InitgPty( Nm ) ) \
        PmtInf( PmtInfId PmtMtd NbOfTxs CtrlSum ReqdExctnDt( Dt ) Dbtr( Nm ) DbtrAcct( Id( IBAN ) ) \
        DbtrAgt( FinInstnId( BICFI ) ) ChrgBr CdtTrfTxInf( PmtId( EndToEndId ) Amt( InstdAmt ) \
        CdtrAgt( FinInstnId( BICFI ) ) Cdtr( Nm ) CdtrAcct( Id( IBAN ) ) RmtInf( Ustrd ) ) \
        CdtTrfTxInf( PmtId( EndToEndId ) Amt( InstdAmt ) \
        CdtrAgt( FinInstnId( BICFI ) ) Cdtr( Nm ) CdtrAcct( Id( IBAN ) ) RmtInf( Ustrd ) ) ) ) )";

    fn written(message: Message) -> String {
        let (creditor, debtor) =
            (bank("Shop & Söhne", "GB29NWBK60161331926819"), bank("Acme <GmbH>", "DE89370400440532013000"));
        let (one, two) = (invoice(1, 10_000), invoice(2, 12_340_000));
        let entries = vec![(&one, &debtor), (&two, &debtor)];
        File { message, creditor: &creditor, entries, on: "2026-02-01", now: UnixTime(1_767_268_800) }
            .write()
            .unwrap()
    }

    /// The elements as they stand.
    fn outline(xml: &str) -> String {
        let mut outline = Vec::new();
        for line in xml.lines().skip(1).map(str::trim) {
            let name: String =
                line.trim_start_matches(['<', '/']).chars().take_while(char::is_ascii_alphanumeric).collect();
            let is_leaf = line.ends_with(&format!("</{name}>")) && !line.starts_with("</");
            match (line.starts_with("</"), is_leaf) {
                (true, _) => outline.push(")".to_owned()),
                (false, true) => outline.push(name),
                (false, false) => outline.push(format!("{name}(")),
            }
        }
        outline.join(" ")
    }

    #[test]
    fn elements_stand_in_the_order_of_the_schemas() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(outline(&written(Message::Collection)), words(COLLECTION));
        assert_eq!(outline(&written(Message::Transfer)), words(TRANSFER));
    }

    #[test]
    fn the_control_sum_and_the_count_are_those_of_the_entries() {
        for message in [Message::Collection, Message::Transfer] {
            let xml = written(message);
            let values = |open: &str| -> Vec<String> {
                let parts = xml.split(open).skip(1);
                parts.map(|rest| rest[..rest.find('<').unwrap()].to_owned()).collect()
            };
            assert_eq!(values("<InstdAmt Ccy=\"EUR\">"), ["0.01", "12.34"]);
            assert_eq!(values("<CtrlSum>"), ["12.35", "12.35"]);
            assert_eq!(values("<NbOfTxs>"), ["2", "2"]);
            for id in values("<MsgId>").iter().chain(&values("<PmtInfId>")).chain(&values("<EndToEndId>")) {
                assert!((1..=35).contains(&id.len()), "{id}");
            }
            assert_ne!(values("<EndToEndId>")[0], values("<EndToEndId>")[1]);
            assert_eq!(values("<CreDtTm>"), ["2026-01-01T12:00:00Z"]);
        }
        assert!(
            written(Message::Collection).contains("<Nm>Acme .GmbH.</Nm>"),
            "and no foreign text breaks it"
        );
    }

    #[test]
    fn an_amount_has_two_decimals_and_a_bank_moves_no_less_than_a_cent() {
        let sum = |amount: u64| cents([amount.into()].into_iter()).ok();
        assert_eq!(sum(10_000).as_deref(), Some("0.01"));
        assert_eq!(sum(1_000_000).as_deref(), Some("1.00"));
        assert_eq!(sum(123_450_000).as_deref(), Some("123.45"));
        assert_eq!((sum(0), sum(9_999), sum(10_001), sum(u64::MAX)), (None, None, None, None));
        assert_eq!(text("//a//b/\u{7}\"", 140), "a/b/..");
    }

    #[test]
    fn the_same_invoices_make_a_file_of_the_same_name() {
        let name = |xml: &str| xml[xml.find("<MsgId>").unwrap()..].lines().next().unwrap().to_owned();
        assert_eq!(name(&written(Message::Collection)), name(&written(Message::Collection)));
        let (creditor, debtor, one) =
            (bank("a", "GB29NWBK60161331926819"), bank("b", "DE89370400440532013000"), invoice(3, 10_000));
        let other = File {
            message: Message::Transfer,
            creditor: &creditor,
            entries: vec![(&one, &debtor)],
            on: "2026-02-01",
            now: UnixTime(0),
        };
        assert_ne!(name(&other.write().unwrap()), name(&written(Message::Transfer)));
    }
}
