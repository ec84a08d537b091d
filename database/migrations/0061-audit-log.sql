-- The audit log: acts with their numbers, and one Merkle tree (RFC 6962) per organisation over them. Nothing here is ever
-- updated or deleted but the personal values (docs/decisions/0141).

-- What an organisation's tree needs to grow. Its row is the sequencer's lock.
create table audit_trees (
  org_id uuid primary key references organisations,
  size bigint not null default 0,
  -- Roots of the perfect subtrees that make up the tree, largest first, 32 bytes each.
  roots bytea not null default ''
);
call hal9_guard('audit_trees', 'select');
call hal9_system_access('audit_trees', 'select', 'insert', 'update');

create table audit_entries (
  org_id uuid not null references organisations,
  -- Index of the leaf, from 0.
  seq bigint not null,
  id uuid not null,
  at timestamptz(3) not null,
  action text not null,
  result text not null,
  actor_kind text not null,
  actor_id text not null,
  impersonator_id text,
  resource_kind text not null,
  resource_id text not null,
  request_id text not null,
  risk smallint not null,
  details jsonb not null,
  -- `{"<personal field>": "<HMAC-SHA256, hex>"}`
  commitments jsonb not null,
  -- RFC 6962 hash of the entry's canonical JSON (schemas/audit/entry.ts).
  leaf_hash bytea not null,
  primary key (org_id, seq)
);
create index audit_entries_by_actor on audit_entries (org_id, actor_id, seq);
create index audit_entries_by_resource on audit_entries (org_id, resource_id, seq);
create index audit_entries_by_action on audit_entries (org_id, action, seq);
create index audit_entries_by_time on audit_entries (org_id, at);
create index audit_entries_by_risk on audit_entries (org_id, risk, seq) where risk > 0;
create index audit_entries_refused on audit_entries (org_id, result, seq) where result <> 'succeeded';
create index audit_entries_by_impersonator on audit_entries (org_id, impersonator_id, seq) where impersonator_id is not null;
call hal9_guard('audit_entries', 'select');
call hal9_system_access('audit_entries', 'select', 'insert');

-- Values behind the commitments: `{"<field>": {"salt": "<hex>", "value": "<text>"}}`. Deleting a row erases them for good.
create table audit_personal (
  org_id uuid not null,
  seq bigint not null,
  at timestamptz(3) not null,
  fields jsonb not null,
  primary key (org_id, seq),
  foreign key (org_id, seq) references audit_entries
);
create index audit_personal_by_time on audit_personal (at);
call hal9_guard('audit_personal', 'select', 'delete');
call hal9_system_access('audit_personal', 'select', 'insert', 'delete');

-- Roots of complete subtrees of 2^8, 2^16, ... leaves, so that a proof reads some hundred hashes and not the log.
create table audit_nodes (
  org_id uuid not null references organisations,
  level smallint not null,
  -- Its place among the subtrees of its level.
  index bigint not null,
  hash bytea not null,
  primary key (org_id, level, index)
);
call hal9_guard('audit_nodes', 'select');
call hal9_system_access('audit_nodes', 'select', 'insert');

-- Checkpoints as signed and witnessed outside PostgreSQL; these are copies for readers.
create table audit_checkpoints (
  org_id uuid not null references organisations,
  size bigint not null,
  -- Signed note (C2SP) with the witness's cosignature.
  note text not null,
  -- Verifier keys of the signer and of the witness.
  signer text not null,
  witness text not null,
  at timestamptz not null default now(),
  primary key (org_id, size)
);
call hal9_guard('audit_checkpoints', 'select');
call hal9_system_access('audit_checkpoints', 'select', 'insert');

-- How far the risk rules have read.
create table audit_rule_cursors (
  org_id uuid primary key references organisations,
  seq bigint not null
);
call hal9_guard('audit_rule_cursors', 'select');
call hal9_system_access('audit_rule_cursors', 'select', 'insert', 'update');

-- Personal values of acts that wait for their number can be erased too.
grant select, update (personal) on audit_acts to hal9_app;
