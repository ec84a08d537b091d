-- What each run of the operation `retention` counted and deleted. Names of tables and numbers only.
create table retention_reports (
  org_id uuid not null references organisations,
  -- Of the run: `retention~<id>`.
  id uuid not null,
  source text not null,
  dry_run boolean not null,
  state text not null check (state in ('running', 'counted', 'done', 'incomplete', 'refused')),
  reasons text[] not null default '{}',
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (org_id, id)
);
create index retention_reports_by_time on retention_reports (org_id, started_at desc, id);
call hal9_guard('retention_reports', 'select', 'insert', 'update');

create table retention_tables (
  org_id uuid not null,
  report_id uuid not null,
  table_name text not null,
  -- In this order tables are swept.
  place int not null,
  keep text not null,
  since text not null,
  cutoff timestamptz not null,
  due int not null,
  deleted int not null default 0,
  partitions text[] not null default '{}',
  held int not null,
  referenced int not null,
  -- Rows that were due and are still there; null until it was looked again.
  remaining int,
  -- Why nothing is deleted; null where rows go.
  why text,
  primary key (org_id, report_id, table_name),
  foreign key (org_id, report_id) references retention_reports
);
call hal9_guard('retention_tables', 'select', 'insert', 'update');
