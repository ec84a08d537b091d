-- Browser sessions: where each is, what it did, and which of its effects were begun.

create table browser_sessions (
  org_id uuid not null references organisations,
  id uuid not null,
  -- As people name the run.
  run_id text not null,
  flow text,
  -- Counts the workers that took the session up: an earlier one that still lives writes nothing any more.
  fence integer not null default 0,
  worker text,
  state text not null default 'open' check (state in ('open', 'done', 'failed', 'cancelled')),
  -- Blob with cookies, storage, tabs and the place in the flow; sealed. Null before the first.
  checkpoint text,
  checkpointed_at timestamptz,
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  primary key (org_id, id)
);
create index browser_sessions_by_run on browser_sessions (org_id, run_id);
create index browser_sessions_age on browser_sessions (closed_at) where closed_at is not null;
call hal9_guard('browser_sessions', 'select', 'insert', 'update');
call hal9_system_access('browser_sessions', 'select', 'delete');

create table browser_steps (
  org_id uuid not null,
  session_id uuid not null,
  seq bigint not null generated always as identity,
  -- Names one execution of a step; a restart may take it again.
  key text not null,
  path text not null,
  verb text not null,
  name text,
  outcome text not null check (outcome in ('done', 'skipped', 'seen', 'failed')),
  -- The element in the words of the flow, and which of the ways to it was taken.
  target text,
  way integer,
  failure text,
  -- Without query and fragment.
  url text not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  -- Blob of the picture taken afterwards.
  picture text,
  -- [{kind, text}]: console errors, failed requests, dialogs.
  troubles jsonb not null default '[]',
  primary key (org_id, session_id, seq),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_steps', 'select', 'insert');
call hal9_system_access('browser_steps', 'select', 'delete');

-- Steps with a side effect that were begun; the row goes with the checkpoint after the step.
create table browser_effects (
  org_id uuid not null,
  session_id uuid not null,
  key text not null,
  begun_at timestamptz not null default now(),
  primary key (org_id, session_id, key),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_effects', 'select', 'insert', 'delete');
call hal9_system_access('browser_effects', 'select', 'delete');
