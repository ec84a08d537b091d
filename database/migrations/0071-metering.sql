-- Uses are folded into hours; the key of a use that may be repeated by a retry stays for a while, so that it counts once.
alter table usage_events add column folded_at timestamptz;
-- What the fold takes, oldest first; folded rows are in no index but the key's.
create index usage_events_waiting on usage_events (at) where folded_at is null;
create index usage_events_folded on usage_events (folded_at) where folded_at is not null;
grant update on usage_events to hal9_system;

create table usage_hours (
  org_id uuid not null references organisations,
  meter text not null,
  -- Begin of the hour, UTC.
  hour timestamptz not null,
  quantity bigint not null,
  primary key (org_id, meter, hour)
);
create index usage_hours_by_time on usage_hours (hour);
call hal9_guard('usage_hours', 'select');
call hal9_system_access('usage_hours', 'select', 'insert', 'update');

-- What was counted and invoiced; written once a month is over, never changed (docs/decisions/0152).
create table statements (
  org_id uuid not null references organisations,
  -- First day of the month, UTC.
  month date not null,
  plan text not null,
  -- `[{"meter", "unit", "quantity", "soft", "hard"}]`, in the order of the meters.
  lines jsonb not null,
  closed_at timestamptz not null default now(),
  -- Hash of the organisation's statement before; null for its first.
  previous_hash bytea,
  -- SHA-256 over month, plan, lines and the hash before.
  hash bytea not null,
  primary key (org_id, month)
);
call hal9_guard('statements', 'select');
call hal9_system_access('statements', 'select', 'insert');
create function hal9_statement_stays() returns trigger language plpgsql as $$
begin
  raise exception 'a statement of a closed month does not change' using errcode = 'HS409';
end
$$;
create trigger statements_stay before update or delete on statements for each row execute function hal9_statement_stays();
