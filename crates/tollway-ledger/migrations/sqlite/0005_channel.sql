-- What is charged on channels. This is written at every request: what is bulky, or changes rarely, is in tables of its own.
CREATE TABLE channel (
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  charged TEXT NOT NULL,
  signed TEXT NOT NULL,
  proof BLOB NOT NULL,
  request BLOB,
  repeats INTEGER NOT NULL,
  member_role TEXT,
  member_name TEXT,
  member_incarnation INTEGER,
  held_until INTEGER,
  used_at INTEGER NOT NULL,
  due INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE INDEX channel_by_due ON channel (scope, due, id);

-- What else is known of them. It is there as long as the channel is.
CREATE TABLE channel_body (
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  claimed TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (scope, id)
);

-- Answers, in the order they were given. One counts only while its channel names its number; what none names is swept.
CREATE TABLE channel_answer (
  number INTEGER PRIMARY KEY,
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  presented BLOB NOT NULL,
  status INTEGER NOT NULL,
  headers TEXT NOT NULL,
  body BLOB NOT NULL,
  expires INTEGER NOT NULL
);
