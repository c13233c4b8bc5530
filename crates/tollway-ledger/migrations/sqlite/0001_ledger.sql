-- Text is compared and ordered by its bytes.

CREATE TABLE member (
  role TEXT NOT NULL,
  name TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  until INTEGER NOT NULL,
  is_ended INTEGER NOT NULL,
  PRIMARY KEY (role, name)
);

CREATE TABLE reservation (
  key TEXT PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  payer TEXT NOT NULL,
  identifier_scope TEXT,
  identifier_id TEXT,
  identifier_digest BLOB,
  standing TEXT NOT NULL,
  transaction_hash TEXT,
  standing_before TEXT,
  transaction_before TEXT,
  token INTEGER NOT NULL,
  member_role TEXT NOT NULL,
  member_name TEXT NOT NULL,
  member_incarnation INTEGER NOT NULL,
  keep_until INTEGER NOT NULL,
  debt_payer TEXT,
  debt_network TEXT,
  debt_asset TEXT,
  debt_amount TEXT,
  debt_request TEXT,
  next_try INTEGER
);
CREATE UNIQUE INDEX reservation_by_identifier ON reservation (identifier_scope, identifier_id)
  WHERE identifier_id IS NOT NULL;
CREATE INDEX reservation_owed ON reservation (next_try, key) WHERE standing = 'owed';
CREATE INDEX reservation_by_keep_until ON reservation (keep_until, key);

CREATE TABLE response (
  key TEXT PRIMARY KEY REFERENCES reservation (key) ON DELETE CASCADE,
  presented BLOB NOT NULL,
  status INTEGER NOT NULL,
  headers TEXT NOT NULL,
  body BLOB NOT NULL,
  expires INTEGER NOT NULL
);
CREATE INDEX response_by_expiry ON response (expires, key);

-- What is owed in an asset by a payer; by all, where the payer is empty.
CREATE TABLE tally (
  network TEXT NOT NULL,
  asset TEXT NOT NULL,
  payer TEXT NOT NULL,
  amount TEXT NOT NULL,
  PRIMARY KEY (network, asset, payer)
);

CREATE TABLE settlement (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  id TEXT NOT NULL UNIQUE,
  digest BLOB NOT NULL,
  payment TEXT NOT NULL,
  network TEXT NOT NULL,
  asset TEXT NOT NULL,
  payer TEXT NOT NULL,
  pay_to TEXT NOT NULL,
  amount TEXT NOT NULL,
  caller TEXT,
  valid_before INTEGER NOT NULL,
  confirmations INTEGER NOT NULL,
  state TEXT NOT NULL,
  transaction_hash TEXT,
  log_index INTEGER,
  block_number INTEGER,
  block_hash TEXT,
  code TEXT,
  message TEXT,
  attempt INTEGER NOT NULL,
  member_role TEXT NOT NULL,
  member_name TEXT NOT NULL,
  member_incarnation INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
CREATE INDEX settlement_open ON settlement (network, sequence) WHERE state IN ('reserved', 'sent');
CREATE INDEX settlement_unfinal ON settlement (network, sequence) WHERE state = 'settled';
CREATE INDEX settlement_by_payer ON settlement (payer, sequence);
CREATE INDEX settlement_by_caller ON settlement (caller, sequence) WHERE caller IS NOT NULL;

CREATE TABLE lane (
  network TEXT NOT NULL,
  address TEXT NOT NULL,
  token INTEGER NOT NULL,
  member_role TEXT,
  member_name TEXT,
  member_incarnation INTEGER,
  PRIMARY KEY (network, address)
);

CREATE TABLE lane_transaction (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  hash TEXT NOT NULL UNIQUE,
  network TEXT NOT NULL,
  address TEXT NOT NULL,
  nonce INTEGER NOT NULL,
  raw BLOB NOT NULL,
  max_fee_per_gas TEXT NOT NULL,
  max_priority_fee_per_gas TEXT NOT NULL,
  state TEXT NOT NULL,
  signed_at INTEGER NOT NULL
);
CREATE INDEX lane_transaction_unended ON lane_transaction (network, address, nonce, sequence)
  WHERE state IN ('open', 'included');

-- Which payment is in which transaction, in the order of signing.
CREATE TABLE settlement_transaction (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL REFERENCES settlement (key),
  hash TEXT NOT NULL REFERENCES lane_transaction (hash),
  UNIQUE (key, hash)
);
CREATE INDEX settlement_transaction_by_hash ON settlement_transaction (hash, key);

CREATE TABLE delivery (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  settlement TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  body TEXT NOT NULL,
  tries INTEGER NOT NULL,
  next_try INTEGER NOT NULL
);
CREATE INDEX delivery_due ON delivery (endpoint, next_try, id);

CREATE TABLE secret (
  name TEXT PRIMARY KEY,
  secret BLOB NOT NULL
);
