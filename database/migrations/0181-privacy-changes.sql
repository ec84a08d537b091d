-- Changes of a person's data in all systems: corrected values (Art. 16 GDPR), consents given and withdrawn (Art. 7), processing
-- restricted and released (Art. 18). No row names anybody, or says which value became which.
create table privacy_changes (
  org_id uuid not null references organisations,
  id uuid not null,
  kind text not null check (kind in ('rectification', 'consent', 'restriction')),
  -- Keyed hashes, as in the ledger of erasures.
  subjects bytea[] not null,
  -- What it is about: categories of data, the purpose of the consent, or `processing`.
  topics text[] not null check (cardinality(topics) between 1 and 50),
  -- How it is to be in the end; of a rectification: `corrected`.
  wanted text not null check (wanted in ('corrected', 'given', 'withdrawn', 'on', 'off')),
  state text not null check (state in ('requested', 'blocked', 'changing', 'complete', 'superseded')),
  verification text not null check (length(verification) between 1 and 500),
  requested_at timestamptz not null default clock_timestamp(),
  requested_by text not null,
  due_at timestamptz not null,
  -- What stands in the way and who must act; neither personal nor secret.
  reasons text[] not null default '{}',
  -- Who it is, and the values: sealed, and gone with the end.
  sealed bytea,
  finished_at timestamptz,
  primary key (org_id, id)
);
create index privacy_changes_by_time on privacy_changes (org_id, requested_at desc, id);
create index privacy_changes_unended on privacy_changes (requested_at) where finished_at is null;
call hal9_guard('privacy_changes', 'select', 'insert', 'update');
-- Changes whose run was lost are found by whoever keeps watch over all organisations.
call hal9_system_access('privacy_changes', 'select');

create table privacy_change_tables (
  org_id uuid not null,
  change_id uuid not null,
  source text not null,
  table_name text not null,
  -- Records that held something else before; records changed since.
  planned int not null,
  changed int not null default 0,
  primary key (org_id, change_id, source, table_name),
  foreign key (org_id, change_id) references privacy_changes
);
call hal9_guard('privacy_change_tables', 'select', 'insert', 'update');

-- What people do by hand is part of an erasure or of a change.
alter table privacy_tasks alter column erasure_id drop not null;
alter table privacy_tasks add column change_id uuid;
alter table privacy_tasks add foreign key (org_id, change_id) references privacy_changes;
alter table privacy_tasks add constraint privacy_tasks_of_one check (num_nonnulls(erasure_id, change_id) = 1);
create unique index privacy_tasks_of_change on privacy_tasks (org_id, change_id, source, name);

-- A restriction keeps the person from being erased and from retention for as long as it lasts.
alter table legal_holds add column restriction_id uuid;
alter table legal_holds add foreign key (org_id, restriction_id) references privacy_changes;
