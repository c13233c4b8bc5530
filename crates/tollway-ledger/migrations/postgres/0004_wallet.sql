-- Purchases of buyers, from before anything is signed until nothing can happen any more. What is in them is the buyer's.
CREATE TABLE intent (
  id TEXT COLLATE "C" PRIMARY KEY,
  wallet TEXT COLLATE "C" NOT NULL,
  agent TEXT COLLATE "C",
  key TEXT COLLATE "C",
  version BIGINT NOT NULL,
  member_role TEXT COLLATE "C",
  member_name TEXT COLLATE "C",
  member_incarnation BIGINT,
  is_open BIGINT NOT NULL,
  repeat_until BIGINT NOT NULL,
  due BIGINT NOT NULL,
  created BIGINT NOT NULL,
  until BIGINT NOT NULL,
  holds TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX intent_by_key ON intent (wallet, key) WHERE key IS NOT NULL;
CREATE INDEX intent_by_created ON intent (wallet, created, id);
CREATE INDEX intent_due ON intent (wallet, due, id) WHERE is_open = 1;
CREATE INDEX intent_closed ON intent (until, id) WHERE is_open = 0;

-- What is counted in one window of a budget.
CREATE TABLE budget (
  name TEXT COLLATE "C" NOT NULL,
  begins BIGINT NOT NULL,
  until BIGINT NOT NULL,
  amount TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (name, begins)
);
CREATE INDEX budget_by_until ON budget (until, name, begins);

-- Small values by scope and name.
CREATE TABLE fact (
  scope TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  value TEXT COLLATE "C" NOT NULL,
  until BIGINT NOT NULL,
  PRIMARY KEY (scope, name)
);
CREATE INDEX fact_by_until ON fact (until, scope, name);
