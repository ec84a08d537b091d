-- What ingest and dispatcher need beside the tables of 0002: chunk numbers before the rows that carry them, dead letters
-- that come back under their old key, and the work of the dispatcher's role.
grant usage on sequence chunks_id_seq to hal9_app;

-- A replayed dead letter moves its key to the new row, so that the id leads to the latest delivery.
grant update on signal_keys to hal9_app;

-- Restarts of an open batch by the dispatcher: bounds how long a batch whose cascade never ends may hold its lane.
alter table batches add column attempts integer not null default 0;
alter table batches add column checked_at timestamptz;
