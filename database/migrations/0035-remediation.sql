-- What host agents were asked to do and what came of it: the record, the retry's memory and the blast-radius count in one.
create table remediation_actions (
  org_id uuid not null references organisations,
  -- Derived from (workflow id, step): a retry finds the row instead of acting again.
  id uuid not null,
  host_id text not null,
  incident_id text not null,
  workflow_id text not null,
  step smallint not null,
  cause text not null,
  action text not null,
  -- In words: process and pid, session, folder.
  target text not null,
  -- started: the effect may or may not have happened; a read decides.
  state text not null check (state in ('started', 'done', 'failed', 'refused')),
  detail text not null default '',
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (org_id, id)
);
create index remediation_actions_by_host on remediation_actions (org_id, host_id, created_at desc);
create index remediation_actions_by_incident on remediation_actions (org_id, incident_id, created_at);
call hal9_guard('remediation_actions', 'select', 'insert', 'update');
