-- Runs: the read model of Temporal's executions, the idempotency of starts, and who serves the queues.

-- Rebuildable from Temporal while its retention lasts, and kept after it.
create table runs (
  org_id uuid not null,
  -- `<operation>~<uuid>`; with an id of its own an operation runs again under the same one, the latest is kept.
  run_id text not null,
  operation text not null,
  origin text not null,
  status text not null check (status in ('running', 'completed', 'failed', 'cancelled', 'terminated', 'timed-out')),
  tags text[] not null default '{}',
  -- Kind and id of who started it, never a secret; null when only Temporal told of the run.
  actor text,
  request_id text,
  traceparent text,
  started_at timestamptz not null,
  closed_at timestamptz,
  -- Type of the failure that ended it; its text stays encrypted in Temporal.
  failure text,
  primary key (org_id, run_id)
);
create index runs_by_time on runs (org_id, started_at desc, run_id desc);
create index runs_by_operation on runs (org_id, operation, started_at desc, run_id desc);
create index runs_open on runs (org_id, started_at desc) where status = 'running';
create index runs_by_tag on runs using gin (tags);
call hal9_guard('runs', 'select');
call hal9_system_access('runs', 'select', 'insert', 'update', 'delete');

-- One row for each Idempotency-Key within its time; key and body only as hashes.
create table idempotency_keys (
  org_id uuid not null,
  operation text not null,
  key_hash bytea not null,
  body_hash bytea not null,
  run_id text not null,
  -- When Temporal acknowledged the start; null while unknown.
  started_at timestamptz,
  expires_at timestamptz not null,
  primary key (org_id, operation, key_hash)
);
create index idempotency_keys_expiry on idempotency_keys (expires_at);
call hal9_guard('idempotency_keys', 'select', 'insert', 'update');
call hal9_system_access('idempotency_keys', 'select', 'delete');

-- How far the projector has read Temporal's visibility. Of the installation, not of an organisation.
create table run_projections (
  name text primary key,
  watermark timestamptz not null
);
grant select, insert, update on run_projections to hal9_system;

-- Background processes and when they were last alive. Of the installation, not of an organisation.
create table workers (
  -- `<host>/<pid>/<start time in ms>`.
  id text primary key,
  process text not null,
  host text not null,
  pid integer not null,
  queues text[] not null,
  build text not null,
  started_at timestamptz not null,
  last_seen timestamptz not null
);
grant select, insert, update, delete on workers to hal9_system;
