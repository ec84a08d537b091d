-- Billing: the payment provider's side of an organisation, and what is on its way there.
create table billing_accounts (
  org_id uuid primary key references organisations,
  customer_id text unique,
  subscription_id text unique,
  -- As the provider names it: `active`, `past_due`, `canceled`, ...
  subscription_status text,
  plan text check (plan in ('free', 'starter', 'professional', 'enterprise')),
  cancels_at timestamptz,
  -- Counts requested changes: part of the idempotency keys, so that a repeated request is the same and the next is another.
  revision integer not null default 0,
  -- Time of the provider's event that was applied last; older ones that arrive late change nothing.
  event_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
call hal9_guard('billing_accounts', 'select', 'insert', 'update');
call hal9_system_access('billing_accounts', 'select', 'update');

create table billing_invoices (
  org_id uuid not null references organisations,
  invoice_id text not null,
  number text,
  status text not null,
  currency text not null,
  -- In the currency's smallest unit.
  amount_due bigint not null,
  amount_paid bigint not null,
  period_start timestamptz not null,
  period_end timestamptz not null,
  -- The provider's page of it.
  url text,
  event_at timestamptz not null,
  primary key (org_id, invoice_id)
);
call hal9_guard('billing_invoices', 'select');
call hal9_system_access('billing_invoices', 'select', 'insert', 'update');

-- Lines of statements on their way to the provider, one meter event each; the identifier makes a repetition the same event.
create table billing_reports (
  org_id uuid not null references organisations,
  month date not null,
  meter text not null,
  quantity bigint not null,
  state text not null default 'pending' check (state in ('pending', 'done', 'failed')),
  attempts integer not null default 0,
  first_attempt_at timestamptz,
  next_at timestamptz not null default now(),
  last_failure text,
  done_at timestamptz,
  primary key (org_id, month, meter)
);
create index billing_reports_due on billing_reports (next_at) where state = 'pending';
call hal9_guard('billing_reports', 'select');
call hal9_system_access('billing_reports', 'select', 'insert', 'update');

-- Events of the provider that were applied. Of the installation, not of an organisation.
create table billing_events (
  event_id text primary key,
  type text not null,
  received_at timestamptz not null default now()
);
grant select, insert, delete on billing_events to hal9_system;
