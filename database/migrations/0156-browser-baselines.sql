-- Pictures that steps of browser flows must be equal to, and what came of comparing.

create table browser_baselines (
  org_id uuid not null references organisations,
  id uuid not null,
  flow text not null,
  name text not null,
  -- Width and height of the window and device pixels to each of its own, e.g. `1280x800@1`: a picture of another size is another one.
  viewport text not null,
  width integer not null,
  height integer not null,
  -- Blob of the PNG; sealed. No other row has the same.
  picture text not null,
  -- Whose page it shows, and the execution of the step that took it.
  run_id text not null,
  step_key text not null,
  -- Whether a person took it for right; else it was the first.
  accepted boolean not null default false,
  taken_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, flow, name, viewport)
);
call hal9_guard('browser_baselines', 'select', 'insert', 'update', 'delete');

-- {name, viewport, outcome, size, baselineSize, different, most, threshold}; null where nothing was compared.
alter table browser_steps add column comparison jsonb;
-- Blobs of PNGs; sealed. They begin with the session, so that they are of no other one, and go with it.
alter table browser_steps add column actual text;
alter table browser_steps add column baseline text;
alter table browser_steps add column difference text;
