-- Text that is compared or ordered is compared by its bytes, as in every other store.

-- Bytes travel as hexadecimal digits; these are the names that SQLite has for it.
CREATE FUNCTION hex(bytes BYTEA) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS $$ SELECT encode(bytes, 'hex') $$;
CREATE FUNCTION unhex(digits TEXT) RETURNS BYTEA LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS $$ SELECT decode(digits, 'hex') $$;

CREATE TABLE member (
  role TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  incarnation BIGINT NOT NULL,
  until BIGINT NOT NULL,
  is_ended BIGINT NOT NULL,
  PRIMARY KEY (role, name)
);

CREATE TABLE reservation (
  key TEXT COLLATE "C" PRIMARY KEY,
  fingerprint BYTEA NOT NULL,
  payer TEXT COLLATE "C" NOT NULL,
  identifier_scope TEXT COLLATE "C",
  identifier_id TEXT COLLATE "C",
  identifier_digest BYTEA,
  standing TEXT COLLATE "C" NOT NULL,
  transaction_hash TEXT COLLATE "C",
  standing_before TEXT COLLATE "C",
  transaction_before TEXT COLLATE "C",
  token BIGINT NOT NULL,
  member_role TEXT COLLATE "C" NOT NULL,
  member_name TEXT COLLATE "C" NOT NULL,
  member_incarnation BIGINT NOT NULL,
  keep_until BIGINT NOT NULL,
  debt_payer TEXT COLLATE "C",
  debt_network TEXT COLLATE "C",
  debt_asset TEXT COLLATE "C",
  debt_amount TEXT COLLATE "C",
  debt_request TEXT COLLATE "C",
  next_try BIGINT
);
CREATE UNIQUE INDEX reservation_by_identifier ON reservation (identifier_scope, identifier_id)
  WHERE identifier_id IS NOT NULL;
CREATE INDEX reservation_owed ON reservation (next_try, key) WHERE standing = 'owed';
CREATE INDEX reservation_by_keep_until ON reservation (keep_until, key);

CREATE TABLE response (
  key TEXT COLLATE "C" PRIMARY KEY REFERENCES reservation (key) ON DELETE CASCADE,
  presented BYTEA NOT NULL,
  status BIGINT NOT NULL,
  headers TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX response_by_expiry ON response (expires, key);

-- What is owed in an asset by a payer; by all, where the payer is empty.
CREATE TABLE tally (
  network TEXT COLLATE "C" NOT NULL,
  asset TEXT COLLATE "C" NOT NULL,
  payer TEXT COLLATE "C" NOT NULL,
  amount TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (network, asset, payer)
);

CREATE TABLE settlement (
  sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key TEXT COLLATE "C" NOT NULL UNIQUE,
  id TEXT COLLATE "C" NOT NULL UNIQUE,
  digest BYTEA NOT NULL,
  payment TEXT COLLATE "C" NOT NULL,
  network TEXT COLLATE "C" NOT NULL,
  asset TEXT COLLATE "C" NOT NULL,
  payer TEXT COLLATE "C" NOT NULL,
  pay_to TEXT COLLATE "C" NOT NULL,
  amount TEXT COLLATE "C" NOT NULL,
  caller TEXT COLLATE "C",
  valid_before BIGINT NOT NULL,
  confirmations BIGINT NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  transaction_hash TEXT COLLATE "C",
  log_index BIGINT,
  block_number BIGINT,
  block_hash TEXT COLLATE "C",
  code TEXT COLLATE "C",
  message TEXT COLLATE "C",
  attempt BIGINT NOT NULL,
  member_role TEXT COLLATE "C" NOT NULL,
  member_name TEXT COLLATE "C" NOT NULL,
  member_incarnation BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX settlement_open ON settlement (network, sequence) WHERE state IN ('reserved', 'sent');
CREATE INDEX settlement_unfinal ON settlement (network, sequence) WHERE state = 'settled';
CREATE INDEX settlement_by_payer ON settlement (payer, sequence);
CREATE INDEX settlement_by_caller ON settlement (caller, sequence) WHERE caller IS NOT NULL;

CREATE TABLE lane (
  network TEXT COLLATE "C" NOT NULL,
  address TEXT COLLATE "C" NOT NULL,
  token BIGINT NOT NULL,
  member_role TEXT COLLATE "C",
  member_name TEXT COLLATE "C",
  member_incarnation BIGINT,
  PRIMARY KEY (network, address)
);

CREATE TABLE lane_transaction (
  sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash TEXT COLLATE "C" NOT NULL UNIQUE,
  network TEXT COLLATE "C" NOT NULL,
  address TEXT COLLATE "C" NOT NULL,
  nonce BIGINT NOT NULL,
  raw BYTEA NOT NULL,
  max_fee_per_gas TEXT COLLATE "C" NOT NULL,
  max_priority_fee_per_gas TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  signed_at BIGINT NOT NULL
);
CREATE INDEX lane_transaction_unended ON lane_transaction (network, address, nonce, sequence)
  WHERE state IN ('open', 'included');

-- Which payment is in which transaction, in the order of signing.
CREATE TABLE settlement_transaction (
  sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key TEXT COLLATE "C" NOT NULL REFERENCES settlement (key),
  hash TEXT COLLATE "C" NOT NULL REFERENCES lane_transaction (hash),
  UNIQUE (key, hash)
);
CREATE INDEX settlement_transaction_by_hash ON settlement_transaction (hash, key);

CREATE TABLE delivery (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  settlement TEXT COLLATE "C" NOT NULL,
  endpoint TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  tries BIGINT NOT NULL,
  next_try BIGINT NOT NULL
);
CREATE INDEX delivery_due ON delivery (endpoint, next_try, id);

CREATE TABLE secret (
  name TEXT COLLATE "C" PRIMARY KEY,
  secret BYTEA NOT NULL
);
