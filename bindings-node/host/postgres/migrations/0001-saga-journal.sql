-- Sagas by id, each with the fencing token of its executor: who takes one over raises it, and only who has the highest
-- may append.
CREATE TABLE tidegate_sagas (
  saga text PRIMARY KEY,
  token bigint NOT NULL DEFAULT 1,
  -- By the last record: to be recovered, waiting for an operator, or neither.
  standing text NOT NULL CHECK (standing IN ('unfinished', 'stuck', 'over')),
  touched timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What is listed at every start; sagas that are over are many, and not in it.
CREATE INDEX tidegate_sagas_open ON tidegate_sagas (standing, touched) WHERE standing <> 'over';

-- One frame a row, as the core makes and reads it.
CREATE TABLE tidegate_saga_records (
  saga text NOT NULL REFERENCES tidegate_sagas ON DELETE CASCADE,
  sequence bigint NOT NULL CHECK (sequence > 0),
  frame bytea NOT NULL,
  PRIMARY KEY (saga, sequence)
);
