-- Schedules: what is to happen when, and what each firing made of it. These rows decide; Temporal's schedules are made of them.

create table schedules (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  -- Grows with every change, pauses included.
  version integer not null default 1,
  -- The version that Temporal has; less than `version` while it does not answer.
  applied_version integer not null default 0,
  -- Why Temporal refused the version, if it did; such a version is not tried again.
  problem text,
  draft jsonb not null,
  -- Whoever saved it: firings run with these scopes, as long as the owner still has them.
  owner_kind text not null,
  owner_id text not null,
  owner_scopes text[] not null,
  paused_at timestamptz,
  -- `person`, or `hal9` when it may not go on (a failed run, an owner who is gone).
  paused_by text check (paused_by in ('person', 'hal9')),
  -- What the person noted, or why HAL9 paused it.
  note text,
  -- Firings count against the draft's limit from here on.
  limit_from timestamptz not null default now(),
  -- Set until Temporal's schedule is gone too; then the row goes.
  deleted_at timestamptz,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  updated_at timestamptz not null default now(),
  primary key (org_id, id)
);
create unique index schedules_by_name on schedules (org_id, name) where deleted_at is null;
create index schedules_unapplied on schedules (org_id) where applied_version < version or deleted_at is not null;
call hal9_guard('schedules', 'select', 'insert', 'update', 'delete');
call hal9_system_access('schedules', 'select', 'insert', 'update', 'delete');

create table schedule_firings (
  org_id uuid not null,
  -- Temporal's id of the firing's first execution: a retry finds the row, and a run has it as its uuid.
  id uuid not null,
  schedule_id uuid not null,
  -- When it was due; backfills lie in the past.
  due_at timestamptz not null,
  state text not null check (state in ('running', 'done', 'failed', 'cancelled', 'skipped')),
  reason text,
  run_id text,
  -- HAL9's id of the signal it sent.
  emitted_key uuid,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  done_at timestamptz,
  primary key (org_id, id)
);
create index schedule_firings_by_schedule on schedule_firings (org_id, schedule_id, created_at desc, id desc);
create index schedule_firings_running on schedule_firings (created_at) where state = 'running';
create index schedule_firings_age on schedule_firings using brin (created_at);
call hal9_guard('schedule_firings', 'select', 'insert', 'update');
call hal9_system_access('schedule_firings', 'select', 'update', 'delete');
