//! Deliveries: due, taken, over.

use tollway_core::UnixTime;

use super::{Tables, storable};
use crate::{Delivery, DeliveryId, DeliveryResult, NewDelivery, SettlementId};

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryRow {
    pub(crate) settlement: SettlementId,
    pub(crate) endpoint: String,
    pub(crate) body: String,
    pub(crate) tries: u32,
    pub(crate) next_try: UnixTime,
}

impl Tables {
    pub(super) fn delivery_insert(&mut self, settlement: SettlementId, new: NewDelivery, now: UnixTime) {
        self.delivery_id += 1;
        let NewDelivery { endpoint, body } = new;
        let row = DeliveryRow { settlement, endpoint, body, tries: 0, next_try: storable(now) };
        self.delivery_put(self.delivery_id, row);
    }

    pub(crate) fn delivery_claim(
        &mut self,
        endpoint: &str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> Vec<Delivery> {
        let place = |at, id| (endpoint.to_owned(), at, id);
        let due = self.indexes.due_deliveries.range(place(UnixTime(0), 0)..=place(now, u64::MAX));
        let due: Vec<_> = due.take(limit as usize).map(|(.., id)| *id).collect();
        let claimed = due.into_iter().filter_map(|id| {
            let mut row = self.deliveries.get(&id)?.clone();
            row.tries = row.tries.saturating_add(1);
            row.next_try = storable(retry_at);
            let DeliveryRow { settlement, endpoint, body, tries, .. } = row.clone();
            self.delivery_put(id, row);
            Some(Delivery { id: DeliveryId(id), settlement, endpoint, body, tries })
        });
        claimed.collect()
    }

    pub(crate) fn delivery_finish(&mut self, id: DeliveryId, result: DeliveryResult) {
        let Some(mut row) = self.deliveries.get(&id.0).cloned() else { return };
        match result {
            DeliveryResult::Over => {
                self.indexes.due_deliveries.remove(&(row.endpoint.clone(), row.next_try, id.0));
                self.deliveries.remove(&id.0);
            }
            DeliveryResult::RetryAt(at) => {
                row.next_try = storable(at);
                self.delivery_put(id.0, row);
            }
        }
    }

    pub(crate) fn delivery_put(&mut self, id: u64, row: DeliveryRow) {
        let place = (row.endpoint.clone(), row.next_try, id);
        if let Some(before) = self.deliveries.put(id, row) {
            self.indexes.due_deliveries.remove(&(before.endpoint, before.next_try, id));
        }
        self.indexes.due_deliveries.insert(place);
    }
}
