-- Content that is too large for rows, sealed in blocks and kept by providers of IPFS.

create table contents (
  org_id uuid not null references organisations,
  id uuid not null,
  media_type text not null,
  -- Of the content in the clear.
  bytes bigint not null check (bytes between 0 and 100000000),
  -- Content identifier of the block that links to the blocks.
  root text not null,
  -- SHA-256 of each sealed block, 32 bytes each, in their order.
  digests bytea not null check (length(digests) % 32 = 0),
  -- Keyed hash of whom it is about, and the key that seals it; null: the organisation's.
  subject bytea,
  subject_key uuid,
  written_by text not null,
  created_at timestamptz(3) not null default clock_timestamp(),
  primary key (org_id, id),
  foreign key (org_id, subject_key) references subject_keys,
  check ((subject is null) = (subject_key is null))
);
create index contents_by_time on contents (org_id, created_at desc, id desc);
create index contents_by_subject on contents (org_id, subject) where subject is not null;
call hal9_guard('contents', 'select', 'insert', 'update', 'delete');

-- Who keeps it.
create table content_pins (
  org_id uuid not null,
  content_id uuid not null,
  -- Name of the connection.
  provider text not null,
  state text not null check (state in ('pinned', 'failed')),
  -- Why it failed, in words for people.
  failure text,
  checked_at timestamptz(3) not null default clock_timestamp(),
  primary key (org_id, content_id, provider),
  foreign key (org_id, content_id) references contents on delete cascade
);
call hal9_guard('content_pins', 'select', 'insert', 'update', 'delete');
