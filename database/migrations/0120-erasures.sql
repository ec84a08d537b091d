-- Systems that hold data of people, with what people say of their columns.
create table privacy_sources (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
  kind text not null check (kind in ('postgres')),
  -- Address and credentials, sealed for (organisation, id, version).
  sealed bytea not null,
  -- YAML, of HAL9 or Fides.
  annotations text not null check (length(annotations) <= 1000000),
  version int not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  updated_by text not null,
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('privacy_sources', 'select', 'insert', 'update', 'delete');

-- One a organisation; without a row the defaults of `platform/privacy/erasures.ts`.
create table privacy_policies (
  org_id uuid primary key references organisations,
  -- People who must agree before anything is destroyed; 0: nobody.
  approvals int not null check (approvals between 0 and 10),
  deadline_days int not null check (deadline_days between 1 and 365),
  -- Days before the deadline on which people are reminded.
  remind_days int[] not null,
  -- Connection that carries reminders.
  connection text,
  updated_at timestamptz not null default now(),
  updated_by text not null
);
call hal9_guard('privacy_policies', 'select', 'insert', 'update');

-- What must not be destroyed, whoever asks. Never deleted, only released.
create table legal_holds (
  org_id uuid not null references organisations,
  id uuid not null,
  -- Keyed hashes of the identities it protects; null: everybody's.
  subjects bytea[],
  -- Table of a source it protects; null: everything.
  source text,
  table_name text,
  reason text not null check (length(reason) between 1 and 500),
  until timestamptz,
  created_at timestamptz not null default now(),
  created_by text not null,
  released_at timestamptz,
  primary key (org_id, id),
  check (subjects is not null or table_name is not null),
  check ((source is null) = (table_name is null))
);
call hal9_guard('legal_holds', 'select', 'insert', 'update');

-- The ledger: who is to be forgotten, as keyed hashes only. Rows stay, so that an erasure can be done again after a restore.
create table erasures (
  org_id uuid not null references organisations,
  id uuid not null,
  subjects bytea[] not null,
  state text not null check (state in ('requested', 'blocked', 'waiting', 'erasing', 'complete', 'denied')),
  -- How it was made sure that the request is the person's own, in the words of whoever checked.
  verification text not null check (length(verification) between 1 and 500),
  requested_at timestamptz not null default now(),
  requested_by text not null,
  due_at timestamptz not null,
  -- What stands in the way and who must act; neither personal nor secret.
  reasons text[] not null default '{}',
  -- What the look-again found that is allowed to stay, by source, table and column.
  kept jsonb not null default '[]',
  finished_at timestamptz,
  -- JWS, once the audit log vouches for it.
  receipt text,
  primary key (org_id, id)
);
create index erasures_by_time on erasures (org_id, requested_at desc, id);
call hal9_guard('erasures', 'select', 'insert', 'update');

-- Who it is, and the key of the masks: sealed, and gone with the end of the erasure.
create table erasure_subjects (
  org_id uuid not null,
  erasure_id uuid not null,
  sealed bytea not null,
  primary key (org_id, erasure_id),
  foreign key (org_id, erasure_id) references erasures
);
call hal9_guard('erasure_subjects', 'select', 'insert', 'delete');

create table erasure_tables (
  org_id uuid not null,
  erasure_id uuid not null,
  source text not null,
  table_name text not null,
  method text not null check (method in ('mask', 'delete', 'none')),
  why text not null,
  -- Rows of the person the rehearsal found; rows changed since; rows that stay because rows of others need them.
  planned int not null,
  changed int not null default 0,
  shared int not null,
  primary key (org_id, erasure_id, source, table_name),
  foreign key (org_id, erasure_id) references erasures
);
call hal9_guard('erasure_tables', 'select', 'insert', 'update', 'delete');
