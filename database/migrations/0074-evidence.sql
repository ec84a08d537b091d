-- What shows that controls worked, collected over a period (SOC 2 Type II). Rows are only ever added, chained by hash.
create table control_evidence (
  org_id uuid not null references organisations,
  -- The run of `compliance-evidence` that collected it: its uuid. A retry of the run adds nothing.
  collection uuid not null,
  control text not null,
  at timestamptz(3) not null,
  result text not null check (result in ('passed', 'failed', 'error')),
  -- What was counted, e.g. `{"tables": 52, "unguarded": 0}`.
  numbers jsonb not null,
  -- Of the organisation's rows of this control.
  previous_hash bytea,
  -- SHA-256 over control, time, result, numbers and the hash before.
  hash bytea not null,
  primary key (org_id, control, collection)
);
create index control_evidence_by_time on control_evidence (org_id, control, at desc);
call hal9_guard('control_evidence', 'select', 'insert');
call hal9_system_access('control_evidence', 'select');
create function hal9_evidence_stays() returns trigger language plpgsql as $$
begin
  raise exception 'evidence does not change' using errcode = 'HS409';
end
$$;
create trigger control_evidence_stay before update or delete on control_evidence for each row execute function hal9_evidence_stays();
