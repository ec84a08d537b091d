-- Pictures of pages as they should be. A flow that compares finds its own by name.

create table browser_baselines (
  org_id uuid not null references organisations,
  id uuid not null,
  -- Name of the flow, and of the picture within it.
  flow text not null,
  name text not null,
  -- Blob, a PNG that carries an id of its own, so that it is of this row alone and goes with it; sealed.
  picture text not null,
  width integer not null,
  height integer not null,
  -- Where it was taken; evidence goes earlier, so that this refers to nothing.
  run_id text not null,
  session_id uuid not null,
  -- The execution of the step: the same picture is accepted once.
  step_key text not null,
  set_at timestamptz not null default now(),
  primary key (org_id, id)
);
create unique index browser_baselines_by_name on browser_baselines (org_id, flow, name);
create index browser_baselines_by_run on browser_baselines (org_id, run_id);
call hal9_guard('browser_baselines', 'select', 'insert', 'update', 'delete');

-- {as, outcome, pixels, width, height, now, baseline, diff}; the last three are blobs of this session alone.
alter table browser_steps add column comparison jsonb;
