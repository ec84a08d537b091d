-- Hashes that are anchored on a chain: streams, what waits in them, and the batches that were made of it.

create table anchor_streams (
  org_id uuid not null,
  id uuid not null,
  name text not null,
  network_id uuid not null,
  signer_id uuid not null,
  -- hashes: what is put in. audit: besides, the newest checkpoint of the organisation's audit log each time it is anchored.
  source text not null check (source in ('hashes', 'audit')),
  -- The log on the chain: (address of the signer, this), 32 bytes in hexadecimal.
  stream text not null check (stream ~ '^0x[0-9a-f]{64}$'),
  created_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name),
  foreign key (org_id, network_id) references chain_networks,
  foreign key (org_id, signer_id) references chain_signers
);
call hal9_guard('anchor_streams', 'select', 'insert');

create table anchor_batches (
  org_id uuid not null,
  stream_id uuid not null,
  -- In the log on the chain, from 0.
  position integer not null,
  root text not null,
  count integer not null check (count between 1 and 10000),
  created_at timestamptz not null default now(),
  primary key (org_id, stream_id, position),
  foreign key (org_id, stream_id) references anchor_streams
);
call hal9_guard('anchor_batches', 'select', 'insert');

create table anchor_hashes (
  org_id uuid not null,
  stream_id uuid not null,
  hash bytea not null check (length(hash) = 32),
  seq bigint not null generated always as identity,
  -- Of its batch; null while it waits.
  position integer,
  created_at timestamptz not null default now(),
  primary key (org_id, stream_id, hash),
  foreign key (org_id, stream_id) references anchor_streams
);
create index anchor_hashes_waiting on anchor_hashes (org_id, stream_id, seq) where position is null;
create index anchor_hashes_by_batch on anchor_hashes (org_id, stream_id, position, seq) where position is not null;
call hal9_guard('anchor_hashes', 'select', 'insert', 'update');
