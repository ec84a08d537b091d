-- Milliseconds, as a page's cursor carries it.
alter table remediation_actions alter column created_at set default date_trunc('milliseconds', now());
create index remediation_actions_by_time on remediation_actions (org_id, created_at desc, id desc);
