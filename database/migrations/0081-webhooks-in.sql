-- Webhooks in: where providers send to, what they sent, and what is known of Alertmanager's alerts.

create table webhooks (
  org_id uuid not null references organisations,
  -- Part of the address, /v1/hooks/<id>.
  id uuid not null,
  name text not null,
  preset text not null,
  settings jsonb not null,
  -- [{id, secret, createdAt, expiresAt}], at most two, sealed by the key ring under the organisation and the hook's id.
  secrets bytea not null,
  enabled boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name)
);
create unique index webhooks_by_id on webhooks (id);
call hal9_guard('webhooks', 'select', 'insert', 'update', 'delete');
-- The address is what says which organisation is meant.
call hal9_system_access('webhooks', 'select');

create table webhook_receipts (
  org_id uuid not null,
  id uuid not null,
  webhook_id uuid not null,
  received_at timestamptz not null,
  status text not null check (status in ('accepted', 'duplicate', 'refused', 'failed')),
  -- Why it was refused or failed; never said to the sender.
  reason text,
  -- The provider's id of the delivery.
  delivery_id text,
  body_bytes integer not null,
  -- Names and values worth keeping; signatures and credentials are left out.
  headers jsonb not null,
  -- Headers and body as received, sealed under the organisation and the receipt's id; a reference for large ones; null when not kept.
  sealed bytea,
  blob_ref text,
  signal_keys uuid[] not null default '{}',
  replays integer not null default 0,
  replayed_at timestamptz,
  primary key (org_id, id)
);
create index webhook_receipts_by_time on webhook_receipts (org_id, received_at desc, id);
create index webhook_receipts_by_webhook on webhook_receipts (org_id, webhook_id, received_at desc, id);
create index webhook_receipts_age on webhook_receipts using brin (received_at);
call hal9_guard('webhook_receipts', 'select', 'insert', 'update');
call hal9_system_access('webhook_receipts', 'select', 'insert', 'delete');

-- One row an alert of Alertmanager: (fingerprint, startsAt) names it. A firing that arrives after its end is over already.
create table webhook_alerts (
  org_id uuid not null,
  webhook_id uuid not null,
  fingerprint text not null,
  starts_at timestamptz not null,
  firing_seen_at timestamptz,
  resolved_at timestamptz,
  seen_at timestamptz not null default now(),
  primary key (org_id, webhook_id, fingerprint, starts_at)
);
create index webhook_alerts_age on webhook_alerts using brin (seen_at);
call hal9_guard('webhook_alerts', 'select', 'insert', 'update');
call hal9_system_access('webhook_alerts', 'select', 'delete');
