-- Leases of concurrency keys: so many runs of an operation at once for each key; the others wait here in their order.
create sequence concurrency_tokens;
grant usage on sequence concurrency_tokens to hal9_app, hal9_system;

create table concurrency_leases (
  org_id uuid not null,
  run_id text not null,
  operation text not null,
  -- HMAC of the key: it may name people.
  key_hash bytea not null,
  -- Runs at once, as the start said.
  most integer not null check (most > 0),
  state text not null check (state in ('queued', 'held')),
  -- Rises with every lease given: what was done under a smaller one is out of date.
  token bigint,
  -- Whether the run was told to begin.
  announced boolean not null default false,
  -- Order of the starts.
  place bigint generated always as identity,
  queued_at timestamptz not null default clock_timestamp(),
  granted_at timestamptz,
  -- Time the run may hold it, ms.
  hold_ms bigint not null,
  primary key (org_id, run_id)
);
create index concurrency_leases_by_key on concurrency_leases (org_id, operation, key_hash, place);
create index concurrency_leases_queued on concurrency_leases (org_id, operation, key_hash) where state = 'queued';
create index concurrency_leases_to_announce on concurrency_leases (granted_at) where state = 'held' and not announced;
call hal9_guard('concurrency_leases', 'select', 'insert', 'delete');
call hal9_system_access('concurrency_leases', 'select', 'update', 'delete');

-- A run that ends gives its lease back, whoever writes down the end. News of an earlier execution under the id does not count.
create function hal9_run_released() returns trigger language plpgsql as $$
begin
  delete from concurrency_leases where org_id = new.org_id and run_id = new.run_id and queued_at <= new.closed_at;
  if found then
    perform pg_notify('hal9_leases', '');
  end if;
  return null;
end
$$;
create trigger runs_released after insert or update on runs for each row when (new.closed_at is not null) execute function hal9_run_released();
