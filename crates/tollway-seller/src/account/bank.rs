//! Bank accounts as accounts files give them: an IBAN with its checksum (ISO 13616), a BIC, a mandate to collect.

use serde::Deserialize;

/// An account at a bank, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankAccount {
    /// Whose account it is.
    pub name: String,
    /// Its number, without spaces.
    pub iban: String,
    /// Its bank; not needed where the IBAN says it.
    #[serde(default)]
    pub bic: Option<String>,
    /// The creditor's identifier, of a seller who collects.
    #[serde(default)]
    pub creditor_id: Option<String>,
    /// The leave to collect from it, of a buyer.
    #[serde(default)]
    pub mandate: Option<Mandate>,
}

/// A debtor's leave to collect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mandate {
    /// Its reference.
    pub id: String,
    /// The day it was signed: `2026-01-31`.
    pub signed_on: String,
}

impl BankAccount {
    /// The first rule that it breaks; none if it can stand in a payment file.
    ///
    /// ```
    /// use tollway_seller::BankAccount;
    /// let (name, iban) = ("Acme GmbH".to_owned(), "DE89370400440532013000".to_owned());
    /// let account = BankAccount { name, iban, bic: None, creditor_id: None, mandate: None };
    /// assert_eq!(account.fault(), None);
    /// let typo = BankAccount { iban: "DE89370400440532013001".to_owned(), ..account };
    /// assert_eq!(typo.fault(), Some("iban: must have a right checksum"));
    /// ```
    pub fn fault(&self) -> Option<&'static str> {
        let is_id =
            |id: &String| (1..=35).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        if self.name.trim().is_empty() || self.name.chars().count() > 70 {
            return Some("name: must be 1 to 70 characters");
        }
        if !is_iban(&self.iban) {
            return Some("iban: must have a right checksum");
        }
        if self.bic.as_deref().is_some_and(|bic| !is_bic(bic)) {
            return Some("bic: must be 8 or 11 capitals and digits");
        }
        if self.creditor_id.as_ref().is_some_and(|id| !is_id(id)) {
            return Some("creditor_id: must be 1 to 35 characters");
        }
        match &self.mandate {
            Some(mandate) if !is_id(&mandate.id) => Some("mandate.id: must be 1 to 35 characters"),
            Some(mandate) if !is_day(&mandate.signed_on) => {
                Some("mandate.signed_on: must be a day, 2026-01-31")
            }
            _ => None,
        }
    }
}

/// Two letters, two digits, and the rest: as a number, with letters from 10 on and the first four at the end, it is 1
/// modulo 97.
fn is_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_formed = (15..=34).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && bytes.iter().take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_digit);
    let moved = bytes.iter().skip(4).chain(bytes.iter().take(4));
    let rest = moved.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.saturating_sub(b'A')) + 10) % 97,
    });
    is_formed && rest == 1
}

/// Four letters or digits for the institution, two letters for its country, two more, and a branch or none.
fn is_bic(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 8 | 11)
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && bytes.iter().skip(4).take(2).all(u8::is_ascii_uppercase)
}

fn is_day(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let number = |text: &str, digits: usize, most: u32| {
        text.len() == digits && text.parse::<u32>().is_ok_and(|number| (1..=most).contains(&number))
    };
    matches!(parts.as_slice(), [year, month, day] if number(year, 4, 9999) && number(month, 2, 12) && number(day, 2, 31))
}

#[cfg(test)]
mod tests {
    use super::{is_bic, is_day, is_iban};

    #[test]
    fn an_iban_has_its_checksum_and_a_bic_its_form() {
        // The examples of the IBAN registry.
        for good in ["DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606"] {
            assert!(is_iban(good), "{good}");
        }
        for bad in
            ["DE89370400440532013001", "de89370400440532013000", "DE89 3704 0044 0532 0130 00", "", "DE00"]
        {
            assert!(!is_iban(bad), "{bad}");
        }
        assert!(is_bic("DEUTDEFF") && is_bic("DEUTDEFF500"));
        assert!(!is_bic("DEUTDEF") && !is_bic("deutdeff") && !is_bic("DEUT12FF"));
        assert!(
            is_day("2026-01-31") && !is_day("2026-1-31") && !is_day("2026-13-01") && !is_day("31.01.2026")
        );
    }
}
