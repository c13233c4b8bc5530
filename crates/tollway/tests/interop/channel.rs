//! A channel from its first deposit to its refund, and what each step moved on chain.
//!
//! Whatever is spent stays in the channel until it is claimed, so the books of payer and payee are looked at after every
//! step: a deposit moves once, a voucher never, a claim what was charged, and a refund the rest.

use std::sync::Arc;

use serde_json::{Value, json};
use tollway_buyer::Wallet;
use tollway_core::Amount;
use tollway_ledger::MemoryLedger;

use crate::cases::Case;
use crate::run::{Came, Matrix, shown, we_pay};
use crate::stand::{CHARGED_ATOMIC, DEPOSITED_BY_PERMIT2, PARTLY, PRICE_ATOMIC};
use crate::verdicts::Row;

/// What comes back before all the rest does.
const SOME_ATOMIC: u64 = 1_000;
/// What is charged for one channel: three requests in full, and one in part.
const SPENT_ATOMIC: u64 = 3 * PRICE_ATOMIC + CHARGED_ATOMIC;

/// Who buys on a channel: ours has a wallet that can forget.
enum Buyer {
    Ours(Wallet),
    Theirs,
}

/// What a step moved: so much less for the payer, so much more for the payee.
type Moved = (i128, i128);

impl Matrix {
    /// A deposit with the first request, a voucher, a charge in part, a client that lost its books and is corrected; then all
    /// is claimed and paid out, some is asked back, and then all the rest.
    pub(crate) async fn spend_on_a_channel(&mut self, row: &Row) -> Came {
        let mut buyer = if row.client.is_ours() { Buyer::Ours(self.wallet()) } else { Buyer::Theirs };
        let mut came = self.walk(row, &mut buyer).await;
        if came.is_ok() && !row.only_stranger().is_empty() {
            came = self.deposit_by_permit2(row, buyer).await;
        }
        if let Err(why) = &came {
            // What is left would be claimed with the next client's.
            self.stand.claim(row).await;
            return Came::Fail(why.clone());
        }
        Came::Pass
    }

    async fn walk(&mut self, row: &Row, buyer: &mut Buyer) -> Result<(), String> {
        let route = Case::BatchSettlement.route();
        let (deposit, _) = self.buys(row, buyer, ("opened", route), false).await?;
        if deposit < i128::from(SPENT_ATOMIC + SOME_ATOMIC) {
            return Err(format!("opened: put in {deposit}"));
        }
        for (step, path, forgets) in
            [("voucher", route, false), ("charged in part", PARTLY, false), ("corrected", route, true)]
        {
            if matches!(buyer, Buyer::Ours(_)) && forgets {
                *buyer = Buyer::Ours(self.wallet());
            }
            let moved = self.buys(row, buyer, (step, path), forgets).await?;
            expect(step, (0, 0), moved, &Value::Null)?;
        }
        self.is_claimed(row, SPENT_ATOMIC).await?;
        let (some, spent) = (i128::from(SOME_ATOMIC), i128::from(SPENT_ATOMIC));
        self.asks_back(row, buyer, (route, Some(SOME_ATOMIC)), (-some, 0)).await?;
        self.asks_back(row, buyer, (route, None), (spent + some - deposit, 0)).await
    }

    /// The same in short, with a deposit through Permit2: at their servers into the channel that was emptied.
    async fn deposit_by_permit2(&mut self, row: &Row, buyer: Buyer) -> Result<(), String> {
        let buyer = if row.client.is_ours() { Buyer::Ours(self.wallet()) } else { buyer };
        let route = DEPOSITED_BY_PERMIT2;
        let (deposit, _) = self.buys(row, &buyer, ("opened by Permit2", route), false).await?;
        self.is_claimed(row, PRICE_ATOMIC).await?;
        self.asks_back(row, &buyer, (route, None), (i128::from(PRICE_ATOMIC) - deposit, 0)).await
    }

    async fn is_claimed(&self, row: &Row, due: u64) -> Result<(), String> {
        let before = self.standing(row).await;
        let told = self.stand.claim(row).await;
        let claimed = difference(before, self.standing(row).await);
        expect("claimed", (0, due.into()), claimed, &json!(told))
    }

    /// One purchase: served as sold, with a receipt. What it moved.
    async fn buys(
        &mut self,
        row: &Row,
        buyer: &Buyer,
        (step, path): (&str, &str),
        forgets: bool,
    ) -> Result<Moved, String> {
        let before = self.standing(row).await;
        let request = json!({ "url": self.stand.route_url(row, path), "forget": forgets });
        let answer = match buyer {
            Buyer::Ours(wallet) => we_pay(&wallet.client().expect("the wallet has a client"), &request).await,
            Buyer::Theirs => self.stand.stranger_pays(row.client, &request),
        };
        let moved = difference(before, self.standing(row).await);
        let told = answer["settlement"]["success"] == true && answer["suspicious"].is_null();
        if answer["status"] == 200 && answer["body"] == format!("sold {path}") && told && moved.1 == 0 {
            return Ok(moved);
        }
        Err(format!("{step}: {}", shown(&answer, moved)))
    }

    async fn asks_back(
        &mut self,
        row: &Row,
        buyer: &Buyer,
        (path, amount): (&str, Option<u64>),
        due: Moved,
    ) -> Result<(), String> {
        let before = self.standing(row).await;
        let answer = match buyer {
            Buyer::Ours(wallet) => gives_back(wallet, amount.map(Amount::from)).await,
            Buyer::Theirs => {
                let amount = amount.map_or(Value::Bool(true), |amount| amount.to_string().into());
                let url = self.stand.route_url(row, path);
                self.stand.stranger_pays(row.client, &json!({ "url": url, "refund": amount }))
            }
        };
        let moved = difference(before, self.standing(row).await);
        let step = if amount.is_some() { "refunded in part" } else { "refunded" };
        if answer["settlement"]["success"] != true {
            return Err(format!("{step}: {}", shown(&answer, moved)));
        }
        expect(step, due, moved, &answer)
    }

    /// The books of payer and payee.
    async fn standing(&self, row: &Row) -> Moved {
        let (payer, payee) = self.stand.books(row.client).await;
        (payer.into(), payee.into())
    }

    /// A wallet of ours that knows nothing yet, and can ask the chain.
    fn wallet(&self) -> Wallet {
        let witness = Arc::new(self.stand.market.chain.clone());
        let wallet =
            crate::stand::our_wallet().channel_witness(witness).ledger(Arc::new(MemoryLedger::new()));
        wallet.build().expect("the wallet is whole")
    }
}

/// Our wallet asks for what its one channel still holds, or for some of it.
async fn gives_back(wallet: &Wallet, amount: Option<Amount>) -> Value {
    wallet.flush().await;
    let channels = wallet.channels().await.expect("the ledger is in memory");
    let [channel] = &channels[..] else { return json!({ "error": format!("{channels:?}") }) };
    match wallet.refund_channel(&channel.key, amount).await {
        Ok(settled) => json!({ "settlement": { "success": settled.success, "amount": settled.amount } }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn difference(before: Moved, after: Moved) -> Moved {
    (before.0 - after.0, after.1 - before.1)
}

fn expect(step: &str, due: Moved, moved: Moved, told: &Value) -> Result<(), String> {
    if moved == due { Ok(()) } else { Err(format!("{step}: moved {moved:?}, due {due:?}; {told}")) }
}
