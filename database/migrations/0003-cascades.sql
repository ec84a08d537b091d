-- Neurons and what they did: batches, emissions, decisions, states, dead letters, and the outbox of effects.

create table neurons (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  layer text not null check (layer in ('L2', 'L3', 'L4')),
  kind text not null,
  enabled boolean not null,
  version integer not null,
  draft jsonb not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('neurons', 'select', 'insert', 'update');
call hal9_system_access('neurons', 'select');

create table neuron_versions (
  org_id uuid not null,
  neuron_id uuid not null,
  version integer not null,
  draft jsonb not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  primary key (org_id, neuron_id, version),
  foreign key (org_id, neuron_id) references neurons (org_id, id)
);
call hal9_guard('neuron_versions', 'select', 'insert');

-- One row an organisation: grows with every change of its neurons, so that workers know when to compile again.
create table neuron_generations (
  org_id uuid primary key references organisations,
  generation bigint not null
);
call hal9_guard('neuron_generations', 'select', 'insert', 'update');
call hal9_system_access('neuron_generations', 'select');

-- The work of one cascade run: the chunks it took from one lane.
create table batches (
  org_id uuid not null,
  -- Also the uuid of the cascade's workflow id.
  id uuid not null,
  lane smallint not null,
  mode text not null check (mode in ('batch', 'interactive', 'clock')),
  depth smallint not null default 0,
  state text not null default 'open' check (state in ('open', 'decided', 'failed')),
  signals integer not null,
  emissions integer not null default 0,
  decisions integer not null default 0,
  dead_letters integer not null default 0,
  cost_usd numeric(18, 9) not null default 0,
  traceparent text,
  opened_at timestamptz not null default now(),
  -- When the cascade's start was acknowledged; null means the dispatcher must (re)start it.
  started_at timestamptz,
  decided_at timestamptz,
  failure text,
  primary key (org_id, id)
);
create index batches_open on batches (opened_at) where state = 'open';
call hal9_guard('batches', 'select', 'insert', 'update');
call hal9_system_access('batches', 'select', 'insert', 'update', 'delete');

-- The fence: who inserts (batch, layer) first has evaluated it; a retry reads the stored summary.
create table layer_results (
  org_id uuid not null,
  batch_id uuid not null,
  layer text not null,
  summary jsonb not null,
  committed_at timestamptz not null default now(),
  primary key (org_id, batch_id, layer)
);
call hal9_guard('layer_results', 'select', 'insert');
call hal9_system_access('layer_results', 'select', 'delete');

create table emissions (
  org_id uuid not null,
  -- Derived from (batch, layer, neuron, ordinal), so a retry makes the same.
  id uuid not null,
  batch_id uuid not null,
  layer text not null,
  ordinal integer not null,
  target_layer text not null,
  direction text not null check (direction in ('up', 'down')),
  neuron_id uuid not null,
  neuron_version integer not null,
  neuron_name text not null,
  type text not null,
  subject text,
  correlation_key text not null,
  severity text not null,
  event_time timestamptz not null,
  data jsonb,
  causes uuid[] not null,
  path text[] not null,
  depth smallint not null,
  created_at timestamptz not null default now(),
  primary key (org_id, id)
);
create index emissions_by_batch on emissions (org_id, batch_id, layer, ordinal);
-- Emissions of L2 are found through their signal's batch; only higher layers need the way back from a cause.
create index emissions_by_cause on emissions using gin (causes) where layer <> 'L2';
create index emissions_by_type on emissions (org_id, type, created_at) where layer <> 'L2';
call hal9_guard('emissions', 'select', 'insert');
call hal9_system_access('emissions', 'select', 'delete');

create table decisions (
  org_id uuid not null,
  id uuid not null,
  batch_id uuid not null,
  layer text not null,
  ordinal integer not null,
  neuron_id uuid not null,
  neuron_version integer not null,
  neuron_name text not null,
  summary text not null,
  reason text not null,
  severity text not null,
  dedup_key text,
  event_time timestamptz not null,
  evidence jsonb,
  causes uuid[] not null,
  cost_usd numeric(18, 9) not null default 0,
  duration_us bigint not null default 0,
  -- {operation?: {type, input}, notify?: {...}}: what follows from it.
  effect jsonb,
  -- none: nothing follows; pending: effect in the outbox; awaiting-approval; done; refused; failed.
  state text not null check (state in ('none', 'pending', 'awaiting-approval', 'done', 'refused', 'failed')),
  run_id text,
  created_at timestamptz not null default now(),
  primary key (org_id, id)
);
create index decisions_by_time on decisions (org_id, created_at desc, id);
create index decisions_by_batch on decisions (org_id, batch_id);
create index decisions_by_cause on decisions using gin (causes);
create index decisions_by_key on decisions (org_id, neuron_id, dedup_key, event_time) where dedup_key is not null;
call hal9_guard('decisions', 'select', 'insert', 'update');
call hal9_system_access('decisions', 'select', 'update', 'delete');

create table neuron_states (
  org_id uuid not null,
  neuron_id uuid not null,
  series text not null,
  state bytea not null,
  -- Event time at which the neuron wants to run without a signal.
  due_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (org_id, neuron_id, series)
);
create index neuron_states_due on neuron_states (due_at) where due_at is not null;
call hal9_guard('neuron_states', 'select', 'insert', 'update', 'delete');
call hal9_system_access('neuron_states', 'select');

create table dead_letters (
  org_id uuid not null,
  id uuid not null,
  batch_id uuid not null,
  layer text not null,
  -- Signal key or emission id.
  ref uuid not null,
  neuron_id uuid,
  neuron_version integer,
  -- A failure type of schemas/errors.ts.
  failure text not null,
  cause text not null,
  created_at timestamptz not null default now(),
  replayed_at timestamptz,
  primary key (org_id, id)
);
create index dead_letters_by_time on dead_letters (org_id, created_at desc, id);
call hal9_guard('dead_letters', 'select', 'insert', 'update');
call hal9_system_access('dead_letters', 'select', 'insert', 'delete');

-- Effects leave through here, at least once, under an id that makes them exactly once at their target.
create table outbox (
  org_id uuid not null,
  -- The decision's id.
  id uuid not null,
  kind text not null check (kind in ('operation', 'notification')),
  payload jsonb not null,
  attempts integer not null default 0,
  next_at timestamptz not null default now(),
  last_failure text,
  created_at timestamptz not null default now(),
  done_at timestamptz,
  primary key (org_id, id, kind)
);
create index outbox_due on outbox (next_at) where done_at is null;
call hal9_guard('outbox', 'select', 'insert', 'update');
call hal9_system_access('outbox', 'select', 'update', 'delete');
