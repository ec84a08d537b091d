-- Transactions on EVM chains: where to reach a chain, who signs, what is sent, and every signed version of it.

create table chains (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  -- EIP-155.
  chain_id bigint not null check (chain_id > 0),
  -- JSON list of addresses of nodes, sealed: many carry an access key.
  rpc_urls bytea not null,
  -- Their hosts, to be shown.
  rpc_hosts text[] not null,
  policy jsonb not null,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('chains', 'select', 'insert', 'update');

create table chain_signers (
  org_id uuid not null,
  id uuid not null,
  chain uuid not null,
  chain_id bigint not null,
  name text not null,
  address text not null check (address ~ '^0x[0-9a-fA-F]{40}$'),
  key_kind text not null check (key_kind in ('kept', 'env', 'file', 'kms')),
  -- What it is called where it is kept; null for kept ones.
  key_name text,
  -- 32 bytes, sealed by the key ring under the organisation and the signer's id.
  sealed_key bytea,
  -- Locked while nonces are given out; the highest one given out so far, plus one.
  next_nonce bigint not null default 0,
  -- What holds its transactions up at present, of schemas/errors.ts.
  trouble text,
  trouble_detail text,
  trouble_since timestamptz,
  created_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name),
  -- A second row would give out the same nonces.
  unique (org_id, chain_id, address),
  foreign key (org_id, chain) references chains
);
call hal9_guard('chain_signers', 'select', 'insert', 'update');

create table chain_transactions (
  org_id uuid not null,
  id uuid not null,
  seq bigint not null generated always as identity,
  signer_id uuid not null,
  -- The submitter's own name for it: one name is one transaction.
  reference text,
  -- SHA-256 of what was asked for, to tell a repetition from another transaction of the same reference.
  body_hash bytea not null,
  -- Null: deploys a contract.
  to_address text,
  value numeric(78, 0) not null default 0,
  data bytea not null,
  gas_limit bigint,
  -- Wei for each unit of gas, at the most; null: the chain's policy.
  max_fee numeric(78, 0),
  -- queued: no nonce yet. pending: has one, and signed versions. mined: in a block. confirmed: deep enough. failed, cancelled: never sent.
  state text not null default 'queued' check (state in ('queued', 'pending', 'mined', 'confirmed', 'failed', 'cancelled')),
  -- Of the version that was mined.
  outcome text check (outcome in ('succeeded', 'reverted', 'cancelled')),
  cancel_requested boolean not null default false,
  nonce bigint,
  -- Whether blocks may still turn out otherwise.
  watched boolean not null default true,
  announced boolean not null default false,
  failure text,
  failure_detail text,
  hash text,
  block_number bigint,
  block_hash text,
  gas_used bigint,
  gas_price numeric(78, 0),
  contract_address text,
  created_at timestamptz not null default now(),
  done_at timestamptz,
  primary key (org_id, id),
  unique (org_id, signer_id, reference),
  -- No nonce is ever given out twice.
  unique (org_id, signer_id, nonce),
  foreign key (org_id, signer_id) references chain_signers
);
create index chain_transactions_open on chain_transactions (org_id, signer_id, seq) where watched;
create index chain_transactions_unannounced on chain_transactions (created_at) where watched and not announced;
create index chain_transactions_by_signer on chain_transactions (org_id, signer_id, seq desc);
call hal9_guard('chain_transactions', 'select', 'insert', 'update');
call hal9_system_access('chain_transactions', 'select', 'update');

create table chain_attempts (
  org_id uuid not null,
  transaction_id uuid not null,
  n integer not null,
  kind text not null check (kind in ('send', 'bump', 'cancel')),
  nonce bigint not null,
  hash text not null,
  -- The signed bytes, written before they are sent.
  raw bytea not null,
  max_fee numeric(78, 0) not null,
  priority_fee numeric(78, 0) not null,
  signed_at timestamptz not null default clock_timestamp(),
  broadcast_at timestamptz,
  broadcasts integer not null default 0,
  -- The node's words when it did not take it.
  rejection text,
  primary key (org_id, transaction_id, n),
  foreign key (org_id, transaction_id) references chain_transactions
);
call hal9_guard('chain_attempts', 'select', 'insert', 'update');

-- What happened to a transaction, in order; what rests on one follows these, back too.
create table chain_transaction_events (
  org_id uuid not null,
  transaction_id uuid not null,
  seq bigint not null generated always as identity,
  at timestamptz not null default clock_timestamp(),
  what text not null check (what in ('submitted', 'signed', 'bumped', 'mined', 'confirmed', 'rolled-back', 'nonce-lost', 'cancel-requested', 'cancelled', 'failed', 'final')),
  detail text,
  primary key (org_id, transaction_id, seq),
  foreign key (org_id, transaction_id) references chain_transactions
);
call hal9_guard('chain_transaction_events', 'select', 'insert');
