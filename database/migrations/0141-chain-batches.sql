-- Submissions that leave together: a transaction of its own (the carrier) calls `multicall(bytes[])` of the contract they are all for.

alter table chain_transactions
  -- May leave together with others for the same contract.
  add column batch boolean not null default false,
  -- The transaction that it left in. Whatever becomes of that is written here too; the nonce and the signed versions are those of the carrier alone.
  add column carrier_id uuid,
  -- Of a carrier: how many submissions it was made of. Null: it is a submission itself, or fills a gap.
  add column calls integer check (calls > 1),
  add foreign key (org_id, carrier_id) references chain_transactions,
  add check (carrier_id is null or (calls is null and nonce is null));
create index chain_transactions_carried on chain_transactions (org_id, carrier_id) where carrier_id is not null;

alter table chain_transaction_events
  drop constraint chain_transaction_events_what_check,
  add constraint chain_transaction_events_what_check
    check (what in ('submitted', 'batched', 'unbatched', 'signed', 'bumped', 'mined', 'confirmed', 'rolled-back', 'nonce-lost', 'cancel-requested', 'cancelled', 'failed', 'final'));
