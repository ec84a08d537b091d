-- Brokers as sources of signals: where messages come from, who consumes them now, and those nobody could take in.

alter table connections drop constraint connections_kind_check;
alter table connections add constraint connections_kind_check check (kind in ('smtp', 'slack', 'pagerduty', 'webhook', 'llm', 'http', 'amqp'));

create table broker_sources (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  enabled boolean not null,
  -- Grows with every change; whoever consumes begins anew with each.
  version integer not null default 1,
  draft jsonb not null,
  -- The process that consumes, until when: one at a time, so that order holds.
  holder uuid,
  lease_until timestamptz,
  state text not null default 'waiting' check (state in ('waiting', 'connected', 'failed')),
  -- Plain words, without secrets.
  last_failure text,
  last_message_at timestamptz,
  received bigint not null default 0,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('broker_sources', 'select', 'insert', 'update', 'delete');
call hal9_system_access('broker_sources', 'select', 'update');

-- Messages that are no signals. Written before they are acknowledged; the id is made of source and message, so a redelivery finds it.
create table broker_dead_letters (
  org_id uuid not null,
  id uuid not null,
  source_id uuid not null,
  cause text not null,
  -- Body and properties, sealed by the key ring under the organisation and the id.
  sealed bytea not null,
  bytes integer not null,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  replayed_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, source_id) references broker_sources on delete cascade
);
create index broker_dead_letters_by_source on broker_dead_letters (org_id, source_id, created_at desc, id desc);
call hal9_guard('broker_dead_letters', 'select', 'insert', 'update', 'delete');
