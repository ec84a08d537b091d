-- What has had its time is removed in batches by the dispatcher; see HAL9_KEEP_DAYS and its siblings.
-- Rows are appended in the order of their time, so a block range index finds the old ones at next to no cost for writers.
create index emissions_age on emissions using brin (created_at);
create index decisions_age on decisions using brin (created_at);
create index layer_results_age on layer_results using brin (committed_at);
create index batches_age on batches using brin (opened_at);
create index dead_letters_age on dead_letters using brin (created_at);
create index outbox_age on outbox using brin (created_at);
create index neuron_calls_age on neuron_calls using brin (created_at);
create index external_calls_age on external_calls using brin (created_at);
create index notifications_age on notifications using brin (created_at);
create index budget_spends_age on budget_spends using brin (created_at);
create index approvals_age on approvals using brin (created_at);
create index remediation_actions_age on remediation_actions using brin (created_at);
-- A call's context is removed with its last row.
create index neuron_calls_by_context on neuron_calls (org_id, context);
call hal9_system_access('remediation_actions', 'select', 'delete');
