-- Automations: trigger, condition, mapping, effect; and what each of them did.

create table automations (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  enabled boolean not null,
  version integer not null,
  draft jsonb not null,
  -- Whoever saved the version: its effects run with these scopes, as long as the owner still has them.
  owner_kind text not null,
  owner_id text not null,
  owner_scopes text[] not null,
  -- Set by HAL9 when it may not go on (a loop, an owner who is gone); saving or resuming clears it.
  paused_at timestamptz,
  paused_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('automations', 'select', 'insert', 'update', 'delete');

create table automation_versions (
  org_id uuid not null,
  automation_id uuid not null,
  version integer not null,
  draft jsonb not null,
  created_at timestamptz not null default now(),
  -- `<kind>:<id>` of the owner.
  created_by text not null,
  primary key (org_id, automation_id, version),
  foreign key (org_id, automation_id) references automations on delete cascade
);
call hal9_guard('automation_versions', 'select', 'insert', 'delete');

-- One row for each signal an automation fires on, and one a batch for those it passed over for the same reason. Written in the
-- transaction that decides the signal's layer, so once; `id` is made of automation and signal, so a replay finds it there.
create table automation_firings (
  org_id uuid not null,
  id uuid not null,
  -- Order of the matches; within a lane of signals the order of the signals.
  seq bigint not null generated always as identity,
  automation_id uuid not null,
  automation_version integer not null,
  -- The signal, or the first of `signals`.
  signal_key uuid not null,
  signal_type text not null,
  signals integer not null default 1,
  state text not null check (state in ('pending', 'fired', 'skipped', 'failed')),
  -- Why it was skipped or failed, in words, without data of the signal.
  reason text,
  -- What leaves: {kind: "operation", operation, input} or {kind: "signal", type, subject, data, partitionKey}; null for what does not.
  effect jsonb,
  -- Hash of the signal's partition key: effects of one automation with the same one leave in the order of their signals.
  order_key integer not null default 0,
  -- Automations whose firing led to the signal, oldest first.
  chain uuid[] not null default '{}',
  attempts integer not null default 0,
  next_at timestamptz not null default now(),
  run_id text,
  -- HAL9's id of the signal it sent.
  emitted_key uuid,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  done_at timestamptz,
  primary key (org_id, id)
);
create index automation_firings_waiting on automation_firings (org_id, automation_id, order_key, seq) where state = 'pending';
create index automation_firings_due on automation_firings (next_at) where state = 'pending';
create index automation_firings_by_automation on automation_firings (org_id, automation_id, seq desc);
create index automation_firings_age on automation_firings using brin (created_at);
call hal9_guard('automation_firings', 'select', 'insert', 'update');
call hal9_system_access('automation_firings', 'select', 'update', 'delete');
