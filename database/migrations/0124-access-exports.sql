-- Copies of all that is held of a person, handed out to them (Art. 15 GDPR). No row names anybody.
create table access_exports (
  org_id uuid not null references organisations,
  id uuid not null,
  -- Keyed hashes, as in the ledger of erasures.
  subjects bytea[] not null,
  state text not null check (state in ('requested', 'collecting', 'blocked', 'ready', 'expired')),
  verification text not null check (length(verification) between 1 and 500),
  requested_at timestamptz not null default now(),
  requested_by text not null,
  -- Days it can be fetched once it is ready.
  keep_days int not null check (keep_days between 1 and 90),
  -- Who it is and what it is encrypted to: sealed, and gone once it is ready.
  sealed bytea,
  reasons text[] not null default '{}',
  -- Records by source and table.
  contents jsonb not null default '[]',
  -- Encrypted to the person, then sealed again as every blob.
  blob text,
  bytes bigint,
  ready_at timestamptz,
  expires_at timestamptz,
  downloads int not null default 0,
  primary key (org_id, id)
);
create index access_exports_by_time on access_exports (org_id, requested_at desc, id);
call hal9_guard('access_exports', 'select', 'insert', 'update');
