//! Building objects in the field order of the reference implementation.

use serde_json::Value;

use crate::JsonObject;

/// An object under construction.
#[derive(Default)]
pub(super) struct Builder(JsonObject);

impl Builder {
    pub(super) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn set_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// Sets the object unless it is empty.
    pub(super) fn set_map(self, name: &str, map: &JsonObject) -> Self {
        if map.is_empty() { self } else { self.set(name, map.clone()) }
    }

    /// Adds the fields kept from a peer, which never replace a field of ours.
    pub(super) fn finish(mut self, other: &JsonObject) -> JsonObject {
        for (name, value) in other {
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), value.clone());
            }
        }
        self.0
    }
}
