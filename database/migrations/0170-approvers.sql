-- Who may answer an approval besides the permission it asks for, who asked, and whom it goes to when nobody answers.
alter table approvals
  -- `{roles, teams, users}`; null: whoever has the permission.
  add column approvers jsonb,
  -- `<kind>:<id>` of who started the run that asks; null in rows of before.
  add column requester text,
  add column allow_requester boolean not null default true,
  -- `{afterSeconds, connection, approvers?}`.
  add column escalation jsonb,
  add column escalated_at timestamptz;
alter table approvals alter column allow_requester set default false;
