-- Calls of llm and http neurons: what they answered once, and whether the next is worth trying.

-- One answer per (batch, neuron version, input): a retry reads it instead of paying again. The prompt and the answer are in a blob.
create table neuron_calls (
  org_id uuid not null,
  batch_id uuid not null,
  neuron_id uuid not null,
  neuron_version integer not null,
  -- SHA-256 over what is sent.
  input_hash bytea not null,
  -- Blob that holds {input, answer}.
  context text not null,
  cost_usd numeric(18, 9) not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  duration_ms integer not null,
  created_at timestamptz not null default now(),
  primary key (org_id, batch_id, neuron_id, neuron_version, input_hash)
);
create index neuron_calls_by_neuron on neuron_calls (org_id, neuron_id, created_at desc);
call hal9_guard('neuron_calls', 'select', 'insert');
call hal9_system_access('neuron_calls', 'select', 'delete');

-- A row exists while a neuron's last call failed. open: failures reached the limit and retry_at lies ahead; afterwards one probe goes through.
create table neuron_breakers (
  org_id uuid not null,
  neuron_id uuid not null,
  failures integer not null,
  opened_at timestamptz,
  -- From then on one call may try; taking it moves this ahead, so that others wait for its outcome.
  retry_at timestamptz,
  last_failure text not null,
  updated_at timestamptz not null default now(),
  primary key (org_id, neuron_id)
);
call hal9_guard('neuron_breakers', 'select', 'insert', 'update', 'delete');
call hal9_system_access('neuron_breakers', 'select');
