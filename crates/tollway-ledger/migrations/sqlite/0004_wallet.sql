-- Purchases of buyers, from before anything is signed until nothing can happen any more. What is in them is the buyer's.
CREATE TABLE intent (
  id TEXT PRIMARY KEY NOT NULL,
  wallet TEXT NOT NULL,
  agent TEXT,
  key TEXT,
  version INTEGER NOT NULL,
  member_role TEXT,
  member_name TEXT,
  member_incarnation INTEGER,
  is_open INTEGER NOT NULL,
  repeat_until INTEGER NOT NULL,
  due INTEGER NOT NULL,
  created INTEGER NOT NULL,
  until INTEGER NOT NULL,
  holds TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE UNIQUE INDEX intent_by_key ON intent (wallet, key) WHERE key IS NOT NULL;
CREATE INDEX intent_by_created ON intent (wallet, created, id);
CREATE INDEX intent_due ON intent (wallet, due, id) WHERE is_open = 1;
CREATE INDEX intent_closed ON intent (until, id) WHERE is_open = 0;

-- What is counted in one window of a budget.
CREATE TABLE budget (
  name TEXT NOT NULL,
  begins INTEGER NOT NULL,
  until INTEGER NOT NULL,
  amount TEXT NOT NULL,
  PRIMARY KEY (name, begins)
) WITHOUT ROWID;
CREATE INDEX budget_by_until ON budget (until, name, begins);

-- Small values by scope and name.
CREATE TABLE fact (
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  value TEXT NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (scope, name)
) WITHOUT ROWID;
CREATE INDEX fact_by_until ON fact (until, scope, name);
