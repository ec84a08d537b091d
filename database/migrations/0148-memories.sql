-- What neurons learned. The content is sealed: with the key of whom it is about, otherwise with the organisation's. What is anchored is the hash of the
-- sealed bytes, so that a destroyed key takes the content and leaves the proof.

create table memories (
  org_id uuid not null references organisations,
  id uuid not null,
  kind text not null check (kind in ('fact', 'outcome', 'evidence')),
  topic text not null check (topic ~ '^[a-z0-9][a-z0-9._-]{0,127}$'),
  -- Keyed hash of whom it is about, as in the ledger of erasures; null: of nobody.
  subject bytea,
  -- Of `subject_keys`; the row is not seen any more once that key is destroyed.
  subject_key uuid,
  sealed bytea not null,
  -- SHA-256 of the sealed bytes: what is anchored.
  digest bytea not null check (length(digest) = 32),
  -- Weight of evidence: natural logarithm of a likelihood ratio.
  weight double precision,
  -- `<kind>:<id>` of who wrote it.
  written_by text not null,
  -- Milliseconds, as pages are continued by it.
  created_at timestamptz(3) not null default clock_timestamp(),
  primary key (org_id, id),
  foreign key (org_id, subject_key) references subject_keys,
  check ((subject is null) = (subject_key is null))
);
create index memories_by_time on memories (org_id, created_at desc, id desc);
create index memories_by_topic on memories (org_id, topic, created_at desc, id desc);
create index memories_by_subject on memories (org_id, subject, created_at desc, id desc) where subject is not null;
call hal9_guard('memories', 'select', 'insert', 'delete');

-- Keyed hashes of the words of memories: equal words are found without being stored. Those about somebody are keyed with that key.
create table memory_words (
  org_id uuid not null,
  token bytea not null,
  memory_id uuid not null,
  primary key (org_id, token, memory_id),
  foreign key (org_id, memory_id) references memories on delete cascade
);
create index memory_words_of_memory on memory_words (org_id, memory_id);
call hal9_guard('memory_words', 'select', 'insert', 'delete');

-- memory: each time it is anchored, what was remembered since.
alter table anchor_streams drop constraint anchor_streams_source_check;
alter table anchor_streams add constraint anchor_streams_source_check check (source in ('hashes', 'audit', 'memory'));
