-- Places of open runs in organisations whose plan limits them, taken before the start and good until the run is in the read model, a minute at the
-- most: so the limit holds whoever starts at the same moment.
create table open_run_places (
  org_id uuid not null references organisations,
  run_id text not null,
  taken_at timestamptz not null default clock_timestamp(),
  primary key (org_id, run_id)
);
call hal9_guard('open_run_places', 'select', 'insert', 'update', 'delete');
