-- Deliveries: one row per message and connection, whatever the number of attempts. No message text: it may hold what people wrote.
create table notifications (
  org_id uuid not null,
  -- Also the webhook-id, and part of the Message-ID: the same in every attempt.
  id uuid not null,
  -- No foreign key: the record of what was sent outlives the connection.
  connection_id uuid not null,
  connection_name text not null,
  kind text not null,
  dedup_key text not null,
  action text not null check (action in ('trigger', 'resolve')),
  severity text not null check (severity in ('info', 'warning', 'critical')),
  title text not null,
  state text not null check (state in ('queued', 'sending', 'delivered', 'failed')),
  attempts integer not null default 0,
  -- A sender that is gone by then has lost its claim.
  claimed_until timestamptz,
  last_failure text,
  -- Milliseconds, as a page's cursor carries it.
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  updated_at timestamptz not null default now(),
  delivered_at timestamptz,
  primary key (org_id, id),
  unique (org_id, connection_id, dedup_key, action)
);
create index notifications_by_time on notifications (org_id, created_at desc, id desc);
create index notifications_by_connection on notifications (org_id, connection_id, created_at desc, id desc);
call hal9_guard('notifications', 'select', 'insert', 'update');
call hal9_system_access('notifications', 'select', 'delete');
