-- Several calls of one contract in one transaction. Its row, the carrier, has the nonce and the signed versions; the calls in it point to it and follow it.
-- (Numbered after the table it changes, 0140.)
alter table chain_transactions
  -- May be sent together with others to the same contract, by its `multicall(bytes[])`.
  add column batch boolean not null default false,
  -- The transaction that carries it.
  add column carrier_id uuid,
  -- How many it carries; 0 for all but carriers.
  add column carries integer not null default 0 check (carries >= 0),
  -- It would have failed with others, or its carrier came to nothing: sent by itself once the chain is past this nonce.
  add column alone_after bigint,
  add foreign key (org_id, carrier_id) references chain_transactions,
  -- The nonce is the carrier's.
  add check (carrier_id is null or (nonce is null and batch));
create index chain_transactions_carried on chain_transactions (org_id, carrier_id) where carrier_id is not null;

alter table chain_transaction_events drop constraint chain_transaction_events_what_check;
alter table chain_transaction_events add constraint chain_transaction_events_what_check
  check (what in ('submitted', 'signed', 'bumped', 'mined', 'confirmed', 'rolled-back', 'nonce-lost', 'cancel-requested', 'cancelled', 'failed', 'final', 'carried', 'released', 'set-apart'));
