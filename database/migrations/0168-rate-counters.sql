-- What was asked for in the running windows, summed over all API and worker processes. Unlogged: after a crash of the database windows begin anew, and
-- no request waits for the disk. Crosses organisations; a key is a kind and an id or an HMAC, never an address or a name.
create unlogged table rate_counters (
  key text primary key,
  points bigint not null,
  ends_at timestamptz not null
);
create index rate_counters_by_end on rate_counters (ends_at);
grant select, insert, update, delete on rate_counters to hal9_system;
