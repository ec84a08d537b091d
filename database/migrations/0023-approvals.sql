-- Questions to people. The waiting workflow owns the outcome; these rows are what people see, and what makes an answer count once.
create table approvals (
  org_id uuid not null references organisations,
  id uuid not null,
  -- The run that waits, as people name it (`<operation>~<uuid>`).
  run_id text not null,
  decision_id uuid,
  summary text not null,
  reason text not null,
  -- What is released: {operation?, notify?}; null when the waiting run goes on by itself.
  effect jsonb,
  permission text not null,
  required smallint not null check (required between 1 and 10),
  state text not null default 'open' check (state in ('open', 'approved', 'refused', 'expired', 'cancelled')),
  outcome text,
  -- Milliseconds, as a page's cursor carries it.
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  deadline_at timestamptz not null,
  closed_at timestamptz,
  primary key (org_id, id)
);
create index approvals_by_time on approvals (org_id, created_at desc, id desc);
create index approvals_open on approvals (org_id, deadline_at) where state = 'open';
call hal9_guard('approvals', 'select', 'insert', 'update');
call hal9_system_access('approvals', 'select', 'delete');

-- One answer per approval and approver; the key is the rule.
create table approval_answers (
  org_id uuid not null,
  approval_id uuid not null,
  -- api-key, system, link.
  approver_kind text not null,
  approver_id text not null,
  approved boolean not null,
  comment text,
  answered_at timestamptz not null default now(),
  primary key (org_id, approval_id, approver_kind, approver_id),
  foreign key (org_id, approval_id) references approvals (org_id, id) on delete cascade
);
call hal9_guard('approval_answers', 'select', 'insert');
call hal9_system_access('approval_answers', 'select');

-- Links that answer without a credential, once. The token itself is never stored.
create table approval_links (
  org_id uuid not null,
  id uuid not null,
  approval_id uuid not null,
  -- SHA-256 of the token.
  token_hash bytea not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, approval_id) references approvals (org_id, id) on delete cascade
);
call hal9_guard('approval_links', 'select', 'insert', 'update');
call hal9_system_access('approval_links', 'select');
