-- What a bulk action's run is started with, kept with its rows until the run is there: a process that dies in between leaves it for the dispatcher.
alter table bulk_actions add column start_sealed bytea;
create index bulk_actions_to_start on bulk_actions (created_at) where start_sealed is not null;
grant update (start_sealed) on bulk_actions to hal9_app;
call hal9_system_access('bulk_actions', 'select');
