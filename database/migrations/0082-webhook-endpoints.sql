-- Outgoing webhooks: endpoints of an organisation, the messages for each, and every attempt to deliver one.

create table webhook_endpoints (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  url text not null,
  -- Exact event types, prefixes ending in `.*`, or `*`.
  events text[] not null,
  -- [{id, secret, createdAt, expiresAt}], at most two, sealed by the key ring under the organisation and the endpoint's id.
  secrets bytea not null,
  enabled boolean not null default true,
  -- Why HAL9 switched it off; null when people did.
  disabled_reason text,
  version integer not null default 1,
  -- The circuit: after failures in a row nothing is sent until then, afterwards one message tries.
  failures integer not null default 0,
  open_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, name)
);
call hal9_guard('webhook_endpoints', 'select', 'insert', 'update', 'delete');
call hal9_system_access('webhook_endpoints', 'select');

create table webhook_messages (
  org_id uuid not null,
  id uuid not null,
  seq bigint not null generated always as identity,
  endpoint_id uuid not null,
  type text not null,
  -- The body's `data`; the time is `created_at`.
  data jsonb not null,
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed', 'abandoned')),
  -- Whether the endpoint's run was told.
  announced boolean not null default false,
  -- Attempts since it was written, or since somebody had it delivered again.
  attempts integer not null default 0,
  next_at timestamptz not null default now(),
  last_failure text,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  done_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, endpoint_id) references webhook_endpoints on delete cascade
);
create index webhook_messages_due on webhook_messages (org_id, endpoint_id, next_at) where state = 'pending';
create index webhook_messages_unannounced on webhook_messages (next_at) where state = 'pending' and not announced;
create index webhook_messages_overdue on webhook_messages (next_at) where state = 'pending';
create index webhook_messages_by_endpoint on webhook_messages (org_id, endpoint_id, seq desc);
create index webhook_messages_age on webhook_messages using brin (created_at);
call hal9_guard('webhook_messages', 'select', 'insert', 'update');
call hal9_system_access('webhook_messages', 'select', 'insert', 'update', 'delete');

create table webhook_attempts (
  org_id uuid not null,
  message_id uuid not null,
  at timestamptz not null default clock_timestamp(),
  -- Null when there was no answer.
  http_status integer,
  -- Null when it was delivered.
  failure text,
  duration_ms integer not null,
  primary key (org_id, message_id, at),
  foreign key (org_id, message_id) references webhook_messages on delete cascade
);
call hal9_guard('webhook_attempts', 'select', 'insert');

-- Writes a message for each endpoint that wants the event, in the transaction of its cause, as whoever commits it.
create function hal9_webhook_event(org uuid, event_type text, event_data jsonb) returns void language sql as $$
  with written as (
    insert into webhook_messages (org_id, id, endpoint_id, type, data)
    select org, gen_random_uuid(), e.id, event_type, event_data from webhook_endpoints e
    where e.org_id = org and e.enabled and exists (select from unnest(e.events) p where p = '*' or p = event_type or (p like '%.*' and starts_with(event_type, left(p, -1))))
    returning 1
  ) select pg_notify('hal9_webhooks', '') where exists (select from written)
$$;

-- Once a statement, and past the first line only where somebody listens: most organisations have no endpoint.
create function hal9_run_events() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    perform hal9_webhook_event(f.org_id, case when f.status = 'running' then 'run.started' else 'run.' || f.status end,
        jsonb_build_object('runId', f.run_id, 'operation', f.operation, 'status', f.status, 'origin', f.origin, 'failure', f.failure, 'startedAt', f.started_at, 'closedAt', f.closed_at))
      from fresh f where f.origin not in ('dispatcher') and f.operation <> 'webhook-delivery' and exists (select from webhook_endpoints e where e.org_id = f.org_id and e.enabled);
  else
    perform hal9_webhook_event(f.org_id, 'run.' || f.status,
        jsonb_build_object('runId', f.run_id, 'operation', f.operation, 'status', f.status, 'origin', f.origin, 'failure', f.failure, 'startedAt', f.started_at, 'closedAt', f.closed_at))
      from fresh f join old_rows o on o.org_id = f.org_id and o.run_id = f.run_id
      where o.status = 'running' and f.status <> 'running' and f.origin not in ('dispatcher') and f.operation <> 'webhook-delivery'
        and exists (select from webhook_endpoints e where e.org_id = f.org_id and e.enabled);
  end if;
  return null;
end
$$;
create trigger webhook_events_inserted after insert on runs referencing new table as fresh for each statement execute function hal9_run_events();
create trigger webhook_events_updated after update on runs referencing new table as fresh old table as old_rows for each statement execute function hal9_run_events();

create function hal9_decision_events() returns trigger language plpgsql as $$
begin
  perform hal9_webhook_event(f.org_id, 'decision.made',
      jsonb_build_object('decisionId', f.id, 'layer', f.layer, 'neuron', f.neuron_name, 'severity', f.severity, 'summary', f.summary, 'state', f.state, 'runId', f.run_id, 'eventTime', f.event_time))
    from fresh f where exists (select from webhook_endpoints e where e.org_id = f.org_id and e.enabled);
  return null;
end
$$;
create function hal9_decision_changes() returns trigger language plpgsql as $$
begin
  perform hal9_webhook_event(f.org_id, 'decision.' || f.state,
      jsonb_build_object('decisionId', f.id, 'layer', f.layer, 'neuron', f.neuron_name, 'severity', f.severity, 'summary', f.summary, 'state', f.state, 'runId', f.run_id, 'eventTime', f.event_time))
    from fresh f join old_rows o on o.org_id = f.org_id and o.id = f.id
    where o.state <> f.state and f.state in ('done', 'refused', 'failed') and exists (select from webhook_endpoints e where e.org_id = f.org_id and e.enabled);
  return null;
end
$$;
create trigger webhook_events_inserted after insert on decisions referencing new table as fresh for each statement execute function hal9_decision_events();
create trigger webhook_events_updated after update on decisions referencing new table as fresh old table as old_rows for each statement execute function hal9_decision_changes();

create function hal9_approval_events() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    perform hal9_webhook_event(f.org_id, 'approval.requested', jsonb_build_object('approvalId', f.id, 'runId', f.run_id, 'decisionId', f.decision_id, 'summary', f.summary, 'required', f.required, 'state', f.state, 'deadlineAt', f.deadline_at))
      from fresh f where exists (select from webhook_endpoints e where e.org_id = f.org_id and e.enabled);
  else
    perform hal9_webhook_event(f.org_id, 'approval.' || f.state, jsonb_build_object('approvalId', f.id, 'runId', f.run_id, 'decisionId', f.decision_id, 'summary', f.summary, 'required', f.required, 'state', f.state, 'deadlineAt', f.deadline_at))
      from fresh f join old_rows o on o.org_id = f.org_id and o.id = f.id where o.state <> f.state and exists (select from webhook_endpoints e where e.org_id = f.org_id and e.enabled);
  end if;
  return null;
end
$$;
create trigger webhook_events_inserted after insert on approvals referencing new table as fresh for each statement execute function hal9_approval_events();
create trigger webhook_events_updated after update on approvals referencing new table as fresh old table as old_rows for each statement execute function hal9_approval_events();
