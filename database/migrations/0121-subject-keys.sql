-- A key for each person that runs and blobs are declared to be about. Destroying it erases them wherever copies of the ciphertext are.
create table subject_keys (
  org_id uuid not null references organisations,
  id uuid not null,
  -- Keyed hash of the identity, as in the ledger of erasures.
  subject bytea not null,
  -- 32 random bytes, sealed for (organisation, id); null once destroyed. The row stays: what it sealed is known to be erased, not damaged.
  wrapped bytea,
  created_at timestamptz not null default now(),
  destroyed_at timestamptz,
  primary key (org_id, id),
  check ((wrapped is null) = (destroyed_at is not null))
);
create unique index subject_keys_living on subject_keys (org_id, subject) where wrapped is not null;
create index subject_keys_by_subject on subject_keys (org_id, subject);
call hal9_guard('subject_keys', 'select', 'insert', 'update');

-- Signals whose sender said whom they are about, as keyed hashes.
create table signal_subjects (
  org_id uuid not null references organisations,
  -- Of the signal, as in signal_keys.
  key uuid not null,
  subject bytea not null,
  received_on date not null,
  primary key (org_id, key, subject)
);
create index signal_subjects_by_subject on signal_subjects (org_id, subject);
create index signal_subjects_age on signal_subjects using brin (received_on);
call hal9_guard('signal_subjects', 'select', 'insert', 'update', 'delete');
