-- Payments that are collected and not over: held, taken, given back. What is in them is the seller's.
CREATE TABLE purchase (
  key TEXT COLLATE "C" PRIMARY KEY,
  version BIGINT NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  due BIGINT NOT NULL,
  until BIGINT NOT NULL
);
CREATE INDEX purchase_by_due ON purchase (due, key);
CREATE INDEX purchase_by_until ON purchase (until, key);
