-- Actions on many runs at once: the run of `bulk` works off rows, so that it can be stopped, resumed and asked what became of each.
create table bulk_actions (
  org_id uuid not null references organisations,
  id uuid not null,
  action text not null check (action in ('signal', 'cancel', 'terminate', 'pause', 'resume', 'retry', 'replay')),
  -- Who asked, and what they were allowed to do then.
  actor_kind text not null,
  actor_id text not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  primary key (org_id, id)
);
create index bulk_actions_by_time on bulk_actions (org_id, created_at desc, id desc);
call hal9_guard('bulk_actions', 'select', 'insert', 'delete');

create table bulk_items (
  org_id uuid not null,
  bulk_id uuid not null,
  n integer not null,
  run_id text not null,
  -- `doing` while under way; one that is found so after a crash is tried again where that does no harm, and is reported as unknown otherwise.
  state text not null default 'waiting' check (state in ('waiting', 'doing', 'done', 'failed', 'aborted')),
  -- Type of the failure.
  failure text,
  -- The run that a retry started.
  new_run_id text,
  at timestamptz,
  primary key (org_id, bulk_id, n),
  unique (org_id, bulk_id, run_id),
  foreign key (org_id, bulk_id) references bulk_actions on delete cascade
);
create index bulk_items_waiting on bulk_items (org_id, bulk_id, n) where state in ('waiting', 'doing');
call hal9_guard('bulk_items', 'select', 'insert', 'update');
