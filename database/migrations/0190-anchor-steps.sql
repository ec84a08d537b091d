-- The step of a run that anchors a batch: when it is tried again, its own batch may be in a block already.
alter table anchor_batches add column step text;
grant update (step) on anchor_batches to hal9_app;
