-- Runs that wait for their beginning, each with whose credential began it: what is revoked meanwhile begins nothing.

create table delayed_starts (
  org_id uuid not null references organisations,
  run_id text not null,
  -- Temporal's id of the execution: another one under the same run id is not meant.
  execution text not null,
  actor_kind text not null check (actor_kind in ('api-key', 'service', 'user')),
  -- The key (also behind a service token) or the person.
  actor_id uuid not null,
  -- Organisation of the person; that of the run for keys.
  actor_org uuid not null,
  begins_at timestamptz not null,
  primary key (org_id, run_id)
);
create index delayed_starts_by_time on delayed_starts (begins_at);
call hal9_guard('delayed_starts', 'select', 'insert', 'update');
call hal9_system_access('delayed_starts', 'select', 'delete');
