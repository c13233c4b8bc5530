//! The stores under test, each empty.

use std::sync::Arc;

use tollway_ledger::{Ledger, MemoryLedger, PostgresLedger, SqliteLedger, TestServer};

/// A store, a second handle on it as another process has, and what keeps it alive.
pub(crate) struct Store {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) other: Arc<dyn Ledger>,
    _alive: Option<tempfile::TempDir>,
}

pub(crate) async fn memory() -> Store {
    let ledger = MemoryLedger::new();
    let other = Arc::new(ledger.clone());
    Store { ledger: Arc::new(ledger), other, _alive: None }
}

pub(crate) async fn sqlite() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Arc::new(SqliteLedger::open(&path).await.unwrap());
    let other = Arc::new(SqliteLedger::open(&path).await.unwrap());
    Store { ledger, other, _alive: Some(folder) }
}

pub(crate) async fn postgres(server: &TestServer) -> Store {
    let url = server.database().await.unwrap();
    let ledger = Arc::new(PostgresLedger::connect(&url).await.unwrap());
    let other = Arc::new(PostgresLedger::connect(&url).await.unwrap());
    Store { ledger, other, _alive: None }
}

/// A server, or none if PostgreSQL is not installed, which the test says.
pub(crate) async fn server() -> Option<TestServer> {
    let server = TestServer::start_new().await.unwrap();
    if server.is_none() {
        assert!(std::env::var_os("TOLLWAY_REQUIRE_FOREIGN").is_none(), "PostgreSQL must be installed");
        eprintln!("NOT RUN: PostgreSQL is not installed");
    }
    server
}
