-- What was used, written by the transaction that used it; folded into hours by the upkeep (docs/decisions/0150).
create table usage_events (
  org_id uuid not null references organisations,
  meter text not null check (meter in ('runs', 'signals', 'tokens', 'browser-seconds', 'storage-byte-hours', 'plugin-cpu-ms')),
  -- What was used, e.g. a run's or a chunk's id: a retry of the same use counts once.
  key text not null,
  quantity bigint not null check (quantity >= 0),
  at timestamptz not null default now(),
  primary key (org_id, meter, key)
);
call hal9_guard('usage_events', 'select', 'insert');
call hal9_system_access('usage_events', 'select', 'insert', 'delete');
