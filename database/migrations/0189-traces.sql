-- What traces ask: what came of a signal, and what a run, a decision or an approval sent out or waited for.
create index automation_firings_by_signal on automation_firings (org_id, signal_key) where effect is not null;
create index webhook_messages_by_run on webhook_messages (org_id, (data ->> 'runId'));
create index webhook_messages_by_decision on webhook_messages (org_id, (data ->> 'decisionId')) where data ->> 'decisionId' is not null;
create index approvals_by_run on approvals (org_id, run_id);
create index approvals_by_decision on approvals (org_id, decision_id) where decision_id is not null;
create index notifications_by_key on notifications (org_id, (dedup_key collate "C"));
