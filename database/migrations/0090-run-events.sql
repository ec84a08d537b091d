-- What happened to a run, in the order it happened: what a stream sends and resumes from.
alter table runs
  -- Since when it is paused, by HAL9's own gate before each step.
  add column paused_at timestamptz,
  -- `{step, done, total, message}` as the run last reported it; no personal data.
  add column progress jsonb,
  -- The run whose input it was started with again, and the other way round.
  add column retry_of text,
  add column retried_by text,
  -- Counts an operator's replays: effects of an earlier epoch may be repeated.
  add column epoch integer not null default 0;

create table run_events (
  org_id uuid not null,
  run_id text not null,
  -- From 1, without gaps in a run: numbered under the lock on the run's row, so that a later number never commits earlier.
  seq bigint not null,
  type text not null check (type in ('started', 'progress', 'paused', 'resumed', 'retried', 'replayed', 'closed')),
  at timestamptz not null default clock_timestamp(),
  data jsonb not null default '{}',
  primary key (org_id, run_id, seq),
  foreign key (org_id, run_id) references runs on delete cascade
);
call hal9_guard('run_events', 'select', 'insert');
call hal9_system_access('run_events', 'select', 'insert', 'delete');
grant update (status, closed_at, failure, paused_at, progress, retried_by, epoch) on runs to hal9_app;

-- Events are changes of the row, whoever writes it and in whatever order news arrives.
create function hal9_run_changed() returns trigger language plpgsql as $$
declare
  events jsonb[] := '{}';
  began boolean := tg_op = 'INSERT';
  last bigint := 0;
begin
  if tg_op = 'UPDATE' then
    began := old.closed_at is not null and new.epoch = old.epoch and (new.closed_at is null or new.started_at > old.closed_at);
    if new.epoch <> old.epoch then
      events := events || jsonb_build_object('type', 'replayed', 'data', jsonb_build_object('epoch', new.epoch));
    end if;
  end if;
  if began then
    events := events || jsonb_build_object('type', 'started', 'data', jsonb_strip_nulls(jsonb_build_object('operation', new.operation, 'origin', new.origin, 'retryOf', new.retry_of)));
  end if;
  if tg_op = 'UPDATE' then
    if new.progress is not null and new.progress is distinct from old.progress then
      events := events || jsonb_build_object('type', 'progress', 'data', new.progress);
    end if;
    if old.paused_at is null and new.paused_at is not null then
      events := events || jsonb_build_object('type', 'paused', 'data', '{}'::jsonb);
    elsif old.paused_at is not null and new.paused_at is null and new.closed_at is null then
      events := events || jsonb_build_object('type', 'resumed', 'data', '{}'::jsonb);
    end if;
    if new.retried_by is not null and new.retried_by is distinct from old.retried_by then
      events := events || jsonb_build_object('type', 'retried', 'data', jsonb_build_object('runId', new.retried_by));
    end if;
  end if;
  if new.closed_at is not null and (began or tg_op = 'INSERT' or old.closed_at is null) then
    events := events || jsonb_build_object('type', 'closed', 'data', jsonb_strip_nulls(jsonb_build_object('status', new.status, 'failure', new.failure)));
  end if;
  if cardinality(events) > 0 then
    if tg_op = 'UPDATE' then
      select coalesce(max(seq), 0) into last from run_events where org_id = new.org_id and run_id = new.run_id;
    end if;
    insert into run_events (org_id, run_id, seq, type, data)
    select new.org_id, new.run_id, last + n, event ->> 'type', event -> 'data' from unnest(events) with ordinality as list (event, n);
  end if;
  -- A listener that keeps runs forgets this one, whatever of it changed.
  perform pg_notify('hal9_runs', new.org_id || ' ' || new.run_id);
  return null;
end
$$;

insert into run_events (org_id, run_id, seq, type, at, data)
select org_id, run_id, 1, 'started', started_at, jsonb_build_object('operation', operation, 'origin', origin) from runs;
insert into run_events (org_id, run_id, seq, type, at, data)
select org_id, run_id, 2, 'closed', closed_at, jsonb_strip_nulls(jsonb_build_object('status', status, 'failure', failure)) from runs where closed_at is not null;

create trigger runs_inserted after insert on runs for each row execute function hal9_run_changed();
create trigger runs_changed after update on runs for each row when (old.* is distinct from new.*) execute function hal9_run_changed();

create index runs_failed on runs (org_id, closed_at desc) where status in ('failed', 'timed-out');
