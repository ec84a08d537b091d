-- Networks of contracts, and rounds of consensus on them. What is said of a round follows the chain: it is written anew at each look, back too.

create table chain_networks (
  org_id uuid not null,
  id uuid not null,
  chain uuid not null,
  name text not null,
  token text not null check (token ~ '^0x[0-9a-fA-F]{40}$'),
  registry text not null check (registry ~ '^0x[0-9a-fA-F]{40}$'),
  market text not null check (market ~ '^0x[0-9a-fA-F]{40}$'),
  anchor text not null check (anchor ~ '^0x[0-9a-fA-F]{40}$'),
  -- Null: nobody votes on it, or elsewhere.
  governance text check (governance ~ '^0x[0-9a-fA-F]{40}$'),
  timelock text check (timelock ~ '^0x[0-9a-fA-F]{40}$'),
  created_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name),
  foreign key (org_id, chain) references chains
);
call hal9_guard('chain_networks', 'select', 'insert');

create table consensus_requests (
  org_id uuid not null,
  -- That of its run.
  id uuid not null,
  seq bigint not null generated always as identity,
  network_id uuid not null,
  requester uuid not null,
  mode text not null check (mode in ('on-chain', 'off-chain')),
  -- Hash of what is asked; the question itself is the run's.
  spec text not null,
  phase text not null default 'unopened' check (phase in ('unopened', 'opening', 'committing', 'revealing', 'reporting', 'tallying', 'challengeable', 'settling', 'settled', 'refunded')),
  -- Id in the market. A reorganisation may give it another one.
  request_id numeric(78, 0),
  round integer not null default 0,
  result_hash text,
  -- 10^-18 HAL9.
  paid numeric(78, 0),
  slashed numeric(78, 0),
  -- Block of the settlement.
  block_number bigint,
  block_hash text,
  -- Deep enough that it is not looked at any more.
  final boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  foreign key (org_id, network_id) references chain_networks,
  foreign key (org_id, requester) references chain_signers
);
create index consensus_requests_by_seq on consensus_requests (org_id, seq desc);
call hal9_guard('consensus_requests', 'select', 'insert', 'update');

-- What a neuron of ours found. Sealed, for others must not copy it before it is revealed. Found once: a vote that is repeated is the same.
create table consensus_results (
  org_id uuid not null,
  consensus_id uuid not null,
  round integer not null,
  signer_id uuid not null,
  -- {hash, value}, sealed; null: the neuron found nothing, `reason` says why.
  sealed bytea,
  reason text,
  created_at timestamptz not null default now(),
  primary key (org_id, consensus_id, round, signer_id),
  foreign key (org_id, consensus_id) references consensus_requests,
  foreign key (org_id, signer_id) references chain_signers
);
call hal9_guard('consensus_results', 'select', 'insert');

-- Votes as the chain has them, those of others' neurons included.
create table consensus_votes (
  org_id uuid not null,
  consensus_id uuid not null,
  round integer not null,
  address text not null,
  -- Null until it is revealed.
  result_hash text,
  -- Null until the request is settled, or without a result.
  verdict text check (verdict in ('right', 'wrong', 'silent')),
  primary key (org_id, consensus_id, round, address),
  foreign key (org_id, consensus_id) references consensus_requests
);
call hal9_guard('consensus_votes', 'select', 'insert', 'delete');
