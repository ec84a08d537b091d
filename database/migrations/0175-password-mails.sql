-- Mails by which somebody who forgot their password sets another (docs/decisions/0271): asked for by anybody, sent by the dispatcher, so that
-- who asks cannot tell from the answer or its time whether there is such a person.
create table password_mails (
  org_id uuid not null references organisations,
  id uuid not null,
  -- What was typed, then the letter once it is written: JSON sealed by the key ring and bound to the row's id. Personal data.
  sealed bytea not null,
  attempts int not null default 0,
  next_at timestamptz not null default now(),
  -- When the link in it is of no use any more.
  expires_at timestamptz not null,
  primary key (org_id, id)
);
create index password_mails_due on password_mails (next_at);
call hal9_guard('password_mails', 'select', 'insert', 'update', 'delete');
call hal9_system_access('password_mails', 'select', 'update');
