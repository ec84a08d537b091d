-- What each rollout was to do, did and judged: it outlives the histories of Temporal.

create table rollouts (
  org_id uuid not null references organisations,
  -- As people name the run.
  run_id text not null,
  seq bigint not null generated always as identity,
  created_at timestamptz not null default now(),
  primary key (org_id, run_id)
);
create index rollouts_by_seq on rollouts (org_id, seq desc);
create index rollouts_age on rollouts using brin (created_at);
call hal9_guard('rollouts', 'select', 'insert');
call hal9_system_access('rollouts', 'select', 'delete');

-- A service in a cluster.
create table rollout_units (
  org_id uuid not null,
  run_id text not null,
  service text not null,
  cluster text not null,
  -- In the order they go out.
  seq bigint not null generated always as identity,
  wave text not null,
  namespace text not null,
  -- As `Deployment/web`.
  workload text not null,
  replicas integer not null,
  strategy text not null check (strategy in ('rolling', 'canary', 'blue-green')),
  -- [{weight, soakSeconds, approvals}] as planned; null where the strategy has no steps.
  steps jsonb,
  -- Images by container.
  from_images jsonb not null,
  to_images jsonb not null,
  state text not null default 'waiting' check (state in ('waiting', 'running', 'new', 'old', 'edited')),
  changed_at timestamptz not null default now(),
  primary key (org_id, run_id, service, cluster),
  foreign key (org_id, run_id) references rollouts on delete cascade
);
call hal9_guard('rollout_units', 'select', 'insert', 'update');
call hal9_system_access('rollout_units', 'select', 'delete');

-- What was done to a unit, when, and which share of the traffic the new version gets since.
create table rollout_steps (
  org_id uuid not null,
  run_id text not null,
  seq bigint not null generated always as identity,
  -- Names the execution of the step: tried again it is the same.
  key text not null,
  at timestamptz not null default now(),
  service text not null,
  cluster text not null,
  step text not null,
  -- Per cent; null where the step changed none.
  share numeric(5, 2) check (share between 0 and 100),
  primary key (org_id, run_id, seq),
  unique (org_id, run_id, key),
  foreign key (org_id, run_id) references rollouts on delete cascade
);
call hal9_guard('rollout_steps', 'select', 'insert');
call hal9_system_access('rollout_steps', 'select', 'delete');

create table rollout_verdicts (
  org_id uuid not null,
  run_id text not null,
  seq bigint not null generated always as identity,
  -- Names the look and the metric: tried again it is the same, and the last attempt is what the run went by.
  key text not null,
  at timestamptz not null,
  service text not null,
  cluster text not null,
  step text not null,
  metric text not null,
  outcome text not null check (outcome in ('pass', 'fail', 'inconclusive')),
  reason text not null,
  queries jsonb not null,
  samples jsonb not null,
  statistic jsonb not null,
  threshold jsonb not null,
  primary key (org_id, run_id, seq),
  unique (org_id, run_id, key),
  foreign key (org_id, run_id) references rollouts on delete cascade
);
call hal9_guard('rollout_verdicts', 'select', 'insert', 'update');
call hal9_system_access('rollout_verdicts', 'select', 'delete');
