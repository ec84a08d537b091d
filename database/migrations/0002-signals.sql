-- Ingest: signals in time partitions, their dedup keys, and the chunks that carry them to the cascades.

-- Each commit of the ingest adds at most one chunk a lane. lane = hash(partition key) % lanes: order holds within a lane.
create table lanes (
  org_id uuid not null,
  -- -1 is the clock lane: batches without signals that only let due windows close.
  lane smallint not null,
  -- The one batch of this lane that is not decided yet.
  open_batch uuid,
  primary key (org_id, lane)
);
call hal9_guard('lanes', 'select', 'insert', 'update');
call hal9_system_access('lanes', 'select', 'insert', 'update');

create table chunks (
  org_id uuid not null,
  -- Grows with commits of one sender; the order inside a lane.
  id bigint not null generated always as identity,
  lane smallint not null,
  signals integer not null,
  received_on date not null,
  received_at timestamptz not null default now(),
  -- `interactive` chunks belong to a waiting caller and are never picked up by the dispatcher unless it gave up.
  mode text not null default 'batch' check (mode in ('batch', 'interactive')),
  -- Delegations so far; 0 for signals from outside.
  depth smallint not null default 0,
  traceparent text,
  -- The cascade that took it; null while it waits.
  batch_id uuid,
  primary key (org_id, id)
);
create index chunks_waiting on chunks (org_id, lane, id) where batch_id is null;
create index chunks_by_batch on chunks (org_id, batch_id) where batch_id is not null;
call hal9_guard('chunks', 'select', 'insert', 'update');
call hal9_system_access('chunks', 'select', 'update', 'delete');

create table signals (
  org_id uuid not null,
  received_on date not null,
  chunk_id bigint not null,
  -- Position inside the chunk.
  ordinal integer not null,
  -- HAL9's id of the signal: first 16 bytes of SHA-256 over (org, source, id), as a UUID.
  key uuid not null,
  source text not null,
  type text not null,
  time timestamptz not null,
  -- The CloudEvent as JSON text, exactly as evaluated.
  envelope text not null,
  primary key (org_id, received_on, chunk_id, ordinal)
) partition by range (received_on);
create table signals_default partition of signals default;
call hal9_guard('signals', 'select', 'insert');
call hal9_system_access('signals', 'select', 'delete');

-- Accepted keys of the dedup window; also the way from a signal's id to its row.
create table signal_keys (
  org_id uuid not null,
  key uuid not null,
  received_on date not null,
  chunk_id bigint not null,
  ordinal integer not null,
  primary key (org_id, key)
);
create index signal_keys_age on signal_keys using brin (received_on);
call hal9_guard('signal_keys', 'select', 'insert');
call hal9_system_access('signal_keys', 'select', 'delete');

-- Creates the daily partitions from today on. Runs as the owner, because nobody else may create tables.
create function hal9_ensure_signal_partitions(days integer) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare
  day date;
begin
  for day in select current_date + n from generate_series(-1, days) n loop
    if to_regclass(format('signals_%s', to_char(day, 'YYYYMMDD'))) is null then
      execute format('create table if not exists signals_%s partition of signals for values from (%L) to (%L)', to_char(day, 'YYYYMMDD'), day, day + 1);
    end if;
  end loop;
end
$$;
revoke all on function hal9_ensure_signal_partitions(integer) from public;
grant execute on function hal9_ensure_signal_partitions(integer) to hal9_system;
select hal9_ensure_signal_partitions(14);
