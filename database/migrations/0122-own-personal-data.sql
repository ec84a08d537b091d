-- What an erasure may change in HAL9's own stores, beside what was granted before; nothing else of these rows.
grant update (envelope, source) on signals to hal9_app;
grant update (data, subject, correlation_key) on emissions to hal9_app;
grant update (data) on run_events to hal9_app;
grant update (tags, progress) on runs to hal9_app;
grant update (comment) on approval_answers to hal9_app;
grant delete on webhook_receipts to hal9_app;
create index runs_by_subject_key on runs (org_id, right(run_id, 34)) where run_id like '%~k:%';
