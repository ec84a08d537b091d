-- Spending limits: reserved by the worst case before a call, settled with what it cost. US dollars exact to 1e-9.

create table budgets (
  org_id uuid not null references organisations,
  -- day, month: the organisation in that period (UTC); cascade: one batch.
  period text not null check (period in ('day', 'month', 'cascade')),
  calls bigint check (calls >= 0),
  tokens bigint check (tokens >= 0),
  usd numeric(18, 9) check (usd >= 0),
  updated_at timestamptz not null default now(),
  updated_by text not null,
  primary key (org_id, period)
);
call hal9_guard('budgets', 'select', 'insert', 'update', 'delete');

create table budget_spends (
  org_id uuid not null,
  -- day/2026-11-21, month/2026-11, cascade/<batch>, cascade/<batch>/<neuron>
  account text not null,
  reserved_calls bigint not null default 0,
  reserved_tokens bigint not null default 0,
  reserved_usd numeric(18, 9) not null default 0,
  spent_calls bigint not null default 0,
  spent_tokens bigint not null default 0,
  spent_usd numeric(18, 9) not null default 0,
  created_at timestamptz not null default now(),
  primary key (org_id, account)
) with (fillfactor = 50);
call hal9_guard('budget_spends', 'select', 'insert', 'update');
call hal9_system_access('budget_spends', 'select', 'delete');

create table budget_reservations (
  org_id uuid not null,
  id uuid not null,
  accounts text[] not null,
  calls bigint not null,
  tokens bigint not null,
  usd numeric(18, 9) not null,
  expires_at timestamptz not null,
  primary key (org_id, id)
);
create index budget_reservations_due on budget_reservations (org_id, expires_at);
call hal9_guard('budget_reservations', 'select', 'insert', 'delete');

-- Takes the worst case out of every account, or out of none. Accounts are taken in order, so that two calls never wait for
-- each other in a circle; each limit is checked by the UPDATE that takes, so that no two calls can both see the last cent.
create function hal9_reserve_budget(reservation uuid, accounts text[], call_limits bigint[], token_limits bigint[], usd_limits numeric[],
  worst_calls bigint, worst_tokens bigint, worst_usd numeric, expires timestamptz) returns void language plpgsql as $$
declare
  account_name text;
  n integer;
begin
  for n in select i from generate_subscripts(accounts, 1) i order by accounts[i] loop
    account_name := accounts[n];
    insert into budget_spends (org_id, account) values (hal9_org(), account_name) on conflict do nothing;
    update budget_spends s
      set reserved_calls = s.reserved_calls + worst_calls, reserved_tokens = s.reserved_tokens + worst_tokens, reserved_usd = s.reserved_usd + worst_usd
      where s.org_id = hal9_org() and s.account = account_name
        and (call_limits[n] is null or s.spent_calls + s.reserved_calls + worst_calls <= call_limits[n])
        and (token_limits[n] is null or s.spent_tokens + s.reserved_tokens + worst_tokens <= token_limits[n])
        and (usd_limits[n] is null or s.spent_usd + s.reserved_usd + worst_usd <= usd_limits[n]);
    if not found then
      raise exception using errcode = 'HB402', message = account_name;
    end if;
  end loop;
  insert into budget_reservations (org_id, id, accounts, calls, tokens, usd, expires_at)
    values (hal9_org(), reservation, accounts, worst_calls, worst_tokens, worst_usd, expires);
end
$$;

-- Ends a reservation: gives back what it held and books what was spent. Answers false when it had ended before.
create function hal9_settle_budget(reservation uuid, actual_calls bigint, actual_tokens bigint, actual_usd numeric) returns boolean language plpgsql as $$
declare
  held budget_reservations%rowtype;
  account_name text;
begin
  delete from budget_reservations r where r.org_id = hal9_org() and r.id = reservation returning * into held;
  if not found then
    return false;
  end if;
  for account_name in select a from unnest(held.accounts) a order by a loop
    update budget_spends s
      set reserved_calls = s.reserved_calls - held.calls, reserved_tokens = s.reserved_tokens - held.tokens, reserved_usd = s.reserved_usd - held.usd,
        spent_calls = s.spent_calls + actual_calls, spent_tokens = s.spent_tokens + actual_tokens, spent_usd = s.spent_usd + actual_usd
      where s.org_id = hal9_org() and s.account = account_name;
  end loop;
  return true;
end
$$;

-- Reservations whose owner is gone: the call may have been made and billed, so they are booked in full.
create function hal9_expire_budget_reservations() returns integer language plpgsql as $$
declare
  due record;
  ended integer := 0;
begin
  for due in select r.id, r.calls, r.tokens, r.usd from budget_reservations r where r.org_id = hal9_org() and r.expires_at < now() order by r.id loop
    if hal9_settle_budget(due.id, due.calls, due.tokens, due.usd) then
      ended := ended + 1;
    end if;
  end loop;
  return ended;
end
$$;
