-- When a state's window closes, in both clocks. `due_at` (0003) is the wall clock: the event-time distance to the end of the window,
-- counted from the commit, so that replayed history is not closed by today's date. `due_event_at` is the event time itself.
alter table neuron_states add column due_event_at timestamptz;
create index neuron_states_due_events on neuron_states (org_id, due_event_at) where due_event_at is not null;

-- Calls of neurons that leave the process, asked for by a layer and answered by an activity of their own.
create table external_calls (
  org_id uuid not null,
  -- Derived from (batch, layer, ordinal), so a retry makes the same.
  id uuid not null,
  batch_id uuid not null,
  layer text not null,
  ordinal integer not null,
  neuron_id uuid not null,
  neuron_version integer not null,
  -- The signal as the neuron saw it.
  signal jsonb not null,
  created_at timestamptz not null default now(),
  -- What came of it: the answer, or why there is none and the fallback rules apply.
  answer jsonb,
  fallback text,
  cost_usd numeric(18, 9) not null default 0,
  answered_at timestamptz,
  primary key (org_id, id)
);
create index external_calls_by_batch on external_calls (org_id, batch_id, layer, ordinal);
call hal9_guard('external_calls', 'select', 'insert', 'update');
call hal9_system_access('external_calls', 'select', 'delete');

-- Batches are listed newest first.
create index batches_by_time on batches (org_id, opened_at desc);
