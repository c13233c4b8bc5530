-- What is charged on channels. This is written at every request: what is bulky, or changes rarely, is in tables of its
-- own. There is room in its pages for the next version of a row, so that indexes are left alone.
CREATE TABLE channel (
  scope TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  charged TEXT COLLATE "C" NOT NULL,
  signed TEXT COLLATE "C" NOT NULL,
  proof BYTEA NOT NULL,
  request BYTEA,
  repeats BIGINT NOT NULL,
  member_role TEXT COLLATE "C",
  member_name TEXT COLLATE "C",
  member_incarnation BIGINT,
  held_until BIGINT,
  used_at BIGINT NOT NULL,
  due BIGINT NOT NULL,
  answered BIGINT NOT NULL,
  PRIMARY KEY (scope, id)
) WITH (fillfactor = 50);
CREATE INDEX channel_by_due ON channel (scope, due, id);

-- What else is known of them. It is there as long as the channel is.
CREATE TABLE channel_body (
  scope TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  claimed TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (scope, id)
);

-- Answers, in the order they were given. One counts only while its channel names its number; what none names is swept.
CREATE TABLE channel_answer (
  number BIGINT PRIMARY KEY,
  scope TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  presented BYTEA NOT NULL,
  status BIGINT NOT NULL,
  headers TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  expires BIGINT NOT NULL
);
-- Each transaction that writes answers takes one, and has 65,536 numbers to itself.
CREATE SEQUENCE channel_answer_block;
