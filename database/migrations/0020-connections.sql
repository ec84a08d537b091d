-- Credentials for systems outside, by reference. The settings are sealed as a whole: not only passwords, but recipients and addresses too.
create table connections (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  kind text not null check (kind in ('smtp', 'slack', 'pagerduty', 'webhook', 'llm', 'http')),
  -- Grows with every change; the sealed settings open under (organisation, id, version) only.
  version integer not null,
  sealed bytea not null,
  state text not null check (state in ('untested', 'ok', 'failed')),
  last_tested_at timestamptz,
  -- Plain words, without secrets.
  last_failure text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  updated_by text not null,
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('connections', 'select', 'insert', 'update', 'delete');
