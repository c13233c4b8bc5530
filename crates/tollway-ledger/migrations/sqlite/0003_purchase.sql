-- Payments that are collected and not over: held, taken, given back. What is in them is the seller's.
CREATE TABLE purchase (
  key TEXT PRIMARY KEY NOT NULL,
  version INTEGER NOT NULL,
  body TEXT NOT NULL,
  due INTEGER NOT NULL,
  until INTEGER NOT NULL
);
CREATE INDEX purchase_by_due ON purchase (due, key);
CREATE INDEX purchase_by_until ON purchase (until, key);
