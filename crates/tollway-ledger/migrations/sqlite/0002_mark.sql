-- Facts that are remembered until a time: what a wallet has bought, which nonces are used.
CREATE TABLE mark (
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (scope, name)
);
CREATE INDEX mark_by_until ON mark (until, scope, name);
