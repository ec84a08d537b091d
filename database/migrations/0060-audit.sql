-- Acts as their causes' transactions write them, not yet numbered. The sequencer of the organisation numbers and hashes them
-- within a second and takes them out of here (docs/decisions/0140).
create table audit_acts (
  org_id uuid not null references organisations,
  id uuid not null,
  -- When the act happened, by the database's clock.
  at timestamptz not null default clock_timestamp(),
  -- `<resource>.<verb in the infinitive>`, e.g. `api-key.revoke`.
  action text not null,
  result text not null check (result in ('succeeded', 'refused', 'failed')),
  actor_kind text not null,
  actor_id text not null,
  -- The user who acts as the actor, if any.
  impersonator_id text,
  resource_kind text not null,
  resource_id text not null,
  request_id text not null,
  -- 0 (nothing unusual) to 100.
  risk smallint not null default 0,
  -- What else is worth knowing, without personal data and secrets.
  details jsonb not null default '{}',
  -- Address, user agent, user name typed: JSON kept apart, erasable behind a salted commitment.
  personal jsonb not null default '{}',
  primary key (org_id, id)
);
call hal9_guard('audit_acts', 'insert');
call hal9_system_access('audit_acts', 'select', 'insert', 'delete');
