import type pg from 'pg';
import type { Layer } from '../schemas/names/layers.ts';
import type { Severity } from '../schemas/neurons/definition.ts';
import type { BatchHeader } from './cascade-inputs.ts';
import { CHUNKS_CHANNEL } from './signals.ts';

/** Announces a lane that has no open batch any more. */
export const LANES_CHANNEL = 'hal9_lanes';
/** Announces, by its id, a decided batch whose sender waits. */
export const DECIDED_CHANNEL = 'hal9_decided';
/** Announces effects that wait in the outbox. */
export const OUTBOX_CHANNEL = 'hal9_outbox';

export interface EmissionRecord {
  readonly id: string;
  readonly ordinal: number;
  readonly targetLayer: Layer;
  readonly direction: 'up' | 'down';
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly neuronName: string;
  readonly type: string;
  readonly subject: string | null;
  readonly correlationKey: string;
  readonly severity: Severity;
  readonly timeMs: number;
  readonly data: unknown;
  readonly causes: readonly string[];
  readonly path: readonly string[];
  readonly depth: number;
}

export interface EffectOfDecision {
  readonly operation: { readonly type: string; readonly input: unknown } | null;
  readonly notify: { readonly connection: string; readonly title: string; readonly message: string } | null;
  readonly approval: { readonly permission: string; readonly required: number; readonly deadlineSeconds: number } | null;
}

export interface DecisionRecord {
  readonly id: string;
  readonly ordinal: number;
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly neuronName: string;
  readonly summary: string;
  readonly reason: string;
  readonly severity: Severity;
  readonly key: string | null;
  readonly cooldownSeconds: number;
  readonly timeMs: number;
  readonly evidence: unknown;
  readonly causes: readonly string[];
  /** US dollars spent on it, decimal text. */
  readonly costUsd: string;
  readonly effect: EffectOfDecision | null;
}

/** A task for a lower layer: becomes a signal of a new chunk. */
export interface DelegationRecord {
  readonly emissionId: string;
  readonly source: string;
  readonly type: string;
  readonly timeMs: number;
  readonly envelope: Readonly<Record<string, unknown>>;
}

export interface ExternalCallRecord {
  readonly id: string;
  readonly ordinal: number;
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly signal: unknown;
}

export interface DeadLetterRecord {
  readonly id: string;
  readonly ref: string;
  readonly neuronId: string | null;
  readonly neuronVersion: number | null;
  readonly failure: string;
  readonly cause: string;
}

export interface StateRecord {
  readonly neuronId: string;
  readonly series: string;
  /** Empty forgets the state. */
  readonly bytes: Uint8Array;
  readonly dueMs: number | null;
}

/** Everything one stage of a batch leaves behind. */
export interface StageCommit {
  readonly stage: string;
  readonly layer: Layer;
  readonly watermarkMs: number;
  readonly emissions: readonly EmissionRecord[];
  /** After {@link settleCooldowns}. */
  readonly decisions: readonly DecisionRecord[];
  readonly joins: readonly JoinedDecision[];
  readonly delegations: readonly DelegationRecord[];
  readonly externalCalls: readonly ExternalCallRecord[];
  readonly deadLetters: readonly DeadLetterRecord[];
  readonly states: readonly StateRecord[];
  /** US dollars, decimal text. */
  readonly costUsd: string;
  /** What a retry reads instead of evaluating again. Small, without data of signals. */
  readonly summary: unknown;
  /** Whether nothing is left to do, so that the batch is decided. */
  readonly close: boolean;
}

/** A decision that an earlier one already covers: the earlier gains the causes. */
export interface JoinedDecision {
  readonly decisionId: string;
  readonly causes: readonly string[];
}

/** Rows of one INSERT. */
const ROWS_PER_INSERT = 5000;
/** Causes kept of one decision; a decision that covers thousands of signals names the first. */
const MAX_CAUSES = 100;

/**
 * Stores stages of one batch in order, all or nothing with the caller's transaction. Several share their statements: who waits for
 * them waits for each.
 * @returns false when one of them was committed before, or the batch is no longer open: then nothing may be kept, so roll back.
 */
export async function commitStages(client: pg.ClientBase, batch: BatchHeader, commits: readonly StageCommit[]): Promise<boolean> {
  const layer = commits[0]?.layer;
  if (layer === undefined) return true;
  if (!(await fence(client, batch, commits))) return false;
  await insertEmissions(client, batch, layer, ofAll(commits, (commit) => commit.emissions));
  await insertDecisions(client, batch, layer, ofAll(commits, (commit) => commit.decisions));
  for (const commit of commits) {
    await joinDecisions(client, commit.joins);
    await insertDelegations(client, batch, commit.delegations);
    await insertExternalCalls(client, batch, commit);
    await insertDeadLetters(client, batch.id, commit.layer, commit.deadLetters);
    await storeStates(client, commit);
  }
  return true;
}

/** The rows of all; with several each names its layer. */
function ofAll<T>(commits: readonly StageCommit[], rowsOf: (commit: StageCommit) => readonly T[]): readonly T[] {
  const [only] = commits;
  if (only !== undefined && commits.length === 1) return rowsOf(only);
  return commits.flatMap((commit) => rowsOf(commit).map((row) => ({ ...row, layer: commit.layer })));
}

/** Claims (batch, stage) for each stage and counts them; one statement, because most batches leave nothing else. */
async function fence(client: pg.ClientBase, batch: BatchHeader, commits: readonly StageCommit[]): Promise<boolean> {
  const sum = (count: (commit: StageCommit) => number): number => commits.reduce((total, commit) => total + count(commit), 0);
  const { rows } = await client.query<{ counted: boolean }>({
    name: 'cascade-fence',
    text: `with fence as (
        insert into layer_results (org_id, batch_id, layer, summary) select hal9_org(), $1, s.layer, s.summary from unnest($2::text[], $3::jsonb[]) as s (layer, summary) on conflict do nothing returning 1
      ), counted as (
        update batches set emissions = emissions + $4, decisions = decisions + $5, dead_letters = dead_letters + $6, cost_usd = cost_usd + (select sum(c) from unnest($7::numeric[]) as c),
          started_at = coalesce(started_at, now()), state = case when $8::boolean then 'decided' else state end, decided_at = case when $8::boolean then clock_timestamp() end
        where org_id = hal9_org() and id = $1 and state = 'open' and (select count(*) from fence) = cardinality($2::text[]) returning 1
      ), freed as (
        update lanes set open_batch = null where org_id = hal9_org() and lane = $9 and open_batch = $1 and $8::boolean and exists (select from counted) returning lane
      ) select exists (select from counted) as counted, (select pg_notify('${LANES_CHANNEL}', hal9_org()::text || ':' || lane) from freed),
          (select pg_notify('${DECIDED_CHANNEL}', $1::text) from counted where $8::boolean and $10::boolean)`,
    values: [
      batch.id,
      commits.map((commit) => commit.stage),
      commits.map((commit) => JSON.stringify(commit.summary)),
      sum((commit) => commit.emissions.length),
      sum((commit) => commit.decisions.length),
      sum((commit) => commit.deadLetters.length),
      commits.map((commit) => commit.costUsd),
      commits.some((commit) => commit.close),
      batch.lane,
      batch.mode === 'interactive',
    ],
  });
  return rows[0]?.counted ?? false;
}

async function insertEmissions(client: pg.ClientBase, batch: BatchHeader, layer: Layer, emissions: readonly EmissionRecord[]): Promise<void> {
  for (const rows of slices(emissions)) {
    await client.query({
      name: 'cascade-emissions',
      text: `insert into emissions (org_id, id, batch_id, layer, ordinal, target_layer, direction, neuron_id, neuron_version, neuron_name, type, subject, correlation_key, severity, event_time, data, causes, path, depth)
       select hal9_org(), e.id, $1, coalesce(e.layer, $2), e.ordinal, e."targetLayer", e.direction, e."neuronId", e."neuronVersion", e."neuronName", e.type, e.subject, e."correlationKey", e.severity,
         to_timestamp(e."timeMs" / 1000), nullif(e.data, 'null'), e.causes, e.path, e.depth
       from json_to_recordset($3::json) as e(id uuid, layer text, ordinal int, "targetLayer" text, direction text, "neuronId" uuid, "neuronVersion" int, "neuronName" text, type text, subject text,
         "correlationKey" text, severity text, "timeMs" float8, data jsonb, causes uuid[], path text[], depth smallint)`,
      values: [batch.id, layer, storableJson(rows)],
    });
  }
}

async function insertDecisions(client: pg.ClientBase, batch: BatchHeader, layer: Layer, decisions: readonly DecisionRecord[]): Promise<void> {
  if (decisions.length === 0) return;
  const rows = decisions.map((decision) => ({ ...decision, causes: decision.causes.slice(0, MAX_CAUSES), state: initialState(decision.effect) }));
  for (const slice of slices(rows)) {
    await client.query({
      name: 'cascade-decisions',
      text: `insert into decisions (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, neuron_name, summary, reason, severity, dedup_key, event_time, evidence, causes, cost_usd, duration_us, effect, state)
       select hal9_org(), d.id, $1, coalesce(d.layer, $2), d.ordinal, d."neuronId", d."neuronVersion", d."neuronName", d.summary, d.reason, d.severity, d.key, to_timestamp(d."timeMs" / 1000), nullif(d.evidence, 'null'),
         d.causes, d."costUsd", b.duration, nullif(d.effect, 'null'), d.state
       from (select (extract(epoch from clock_timestamp() - opened_at) * 1000000)::bigint as duration from batches where org_id = hal9_org() and id = $1) b,
         json_to_recordset($3::json) as d(id uuid, layer text, ordinal int, "neuronId" uuid, "neuronVersion" int, "neuronName" text, summary text, reason text, severity text, key text, "timeMs" float8,
           evidence jsonb, causes uuid[], "costUsd" numeric, effect jsonb, state text)`,
      values: [batch.id, layer, storableJson(slice)],
    });
  }
  const effects = rows.flatMap((decision) => outboxRows(decision));
  for (const slice of slices(effects)) {
    await client.query(
      `with written as (
         insert into outbox (org_id, id, kind, payload) select hal9_org(), o.id, o.kind, o.payload from json_to_recordset($1::json) as o(id uuid, kind text, payload jsonb) returning 1
       ) select pg_notify('${OUTBOX_CHANNEL}', '') where exists (select from written)`,
      [storableJson(slice)],
    );
  }
}

function initialState(effect: EffectOfDecision | null): 'none' | 'pending' | 'awaiting-approval' {
  if (effect === null || (effect.operation === null && effect.notify === null)) return 'none';
  return effect.approval === null ? 'pending' : 'awaiting-approval';
}

/** What leaves for a decision: its effects, or first the question whether they may. */
function outboxRows(decision: DecisionRecord): { id: string; kind: 'operation' | 'notification'; payload: unknown }[] {
  const { id, effect, summary, reason, severity } = decision;
  if (effect === null || (effect.operation === null && effect.notify === null)) return [];
  const { operation, notify, approval } = effect;
  if (approval !== null) {
    return [{ id, kind: 'operation', payload: { type: 'approval', input: { decisionId: id, summary, reason, approval, effect: { operation, notify } } } }];
  }
  return [
    ...(operation === null ? [] : [{ id, kind: 'operation' as const, payload: operation }]),
    ...(notify === null ? [] : [{ id, kind: 'notification' as const, payload: { ...notify, severity } }]),
  ];
}

async function joinDecisions(client: pg.ClientBase, joins: readonly JoinedDecision[]): Promise<void> {
  if (joins.length === 0) return;
  await client.query(
    `update decisions d set causes = (d.causes || array(select c from unnest(j.causes) with ordinality as u(c, n) where c <> all(d.causes) order by n))[1:${MAX_CAUSES}]
     from json_to_recordset($1::json) as j("decisionId" uuid, causes uuid[]) where d.org_id = hal9_org() and d.id = j."decisionId" and cardinality(d.causes) < ${MAX_CAUSES}`,
    [JSON.stringify(joins.map((join) => ({ ...join, causes: join.causes.slice(0, MAX_CAUSES) })))],
  );
}

/** A delegation is a signal like any other: a chunk on the same lane, one delegation deeper, under the emission's own id. */
async function insertDelegations(client: pg.ClientBase, batch: BatchHeader, delegations: readonly DelegationRecord[]): Promise<void> {
  if (delegations.length === 0) return;
  const rows = delegations.map((delegation, ordinal) => ({
    key: delegation.emissionId,
    ordinal,
    source: delegation.source,
    type: delegation.type,
    timeMs: delegation.timeMs,
    envelope: storableJson(delegation.envelope),
  }));
  await client.query(
    `with chunk as (
       insert into chunks (org_id, lane, signals, received_on, depth, traceparent)
       values (hal9_org(), $1, $2, (now() at time zone 'utc')::date, $3, $4) returning id, received_on
     ), rows as (
       select * from json_to_recordset($5::json) as r(key uuid, ordinal int, source text, type text, "timeMs" float8, envelope text)
     ), written as (
       insert into signals (org_id, received_on, chunk_id, ordinal, key, source, type, time, envelope)
       select hal9_org(), c.received_on, c.id, r.ordinal, r.key, r.source, r.type, to_timestamp(r."timeMs" / 1000), r.envelope from rows r, chunk c
     ), keyed as (
       insert into signal_keys (org_id, key, received_on, chunk_id, ordinal) select hal9_org(), r.key, c.received_on, c.id, r.ordinal from rows r, chunk c
     ) select pg_notify('${CHUNKS_CHANNEL}', '')`,
    [Math.max(0, batch.lane), rows.length, batch.depth + 1, batch.traceparent, storableJson(rows)],
  );
}

async function insertExternalCalls(client: pg.ClientBase, batch: BatchHeader, commit: StageCommit): Promise<void> {
  for (const slice of slices(commit.externalCalls)) {
    await client.query(
      `insert into external_calls (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, signal)
       select hal9_org(), c.id, $1, $2, c.ordinal, c."neuronId", c."neuronVersion", c.signal
       from json_to_recordset($3::json) as c(id uuid, ordinal int, "neuronId" uuid, "neuronVersion" int, signal jsonb)`,
      [batch.id, commit.layer, storableJson(slice)],
    );
  }
}

/** Also used for a batch that failed as a whole. */
export async function insertDeadLetters(client: pg.ClientBase, batchId: string, layer: Layer, letters: readonly DeadLetterRecord[]): Promise<void> {
  for (const slice of slices(letters)) {
    await client.query(
      `insert into dead_letters (org_id, id, batch_id, layer, ref, neuron_id, neuron_version, failure, cause)
       select hal9_org(), l.id, $1, $2, l.ref, l."neuronId", l."neuronVersion", l.failure, l.cause
       from json_to_recordset($3::json) as l(id uuid, ref uuid, "neuronId" uuid, "neuronVersion" int, failure text, cause text) on conflict do nothing`,
      [batchId, layer, storableJson(slice)],
    );
  }
}

/** Rows are there already: `lockStates` made them. */
async function storeStates(client: pg.ClientBase, commit: StageCommit): Promise<void> {
  const kept = commit.states.filter((state) => state.bytes.length > 0);
  const forgotten = commit.states.filter((state) => state.bytes.length === 0);
  for (const slice of slices(kept)) {
    await client.query(
      `update neuron_states s set state = k.state, due_event_at = to_timestamp(k.due_ms / 1000),
         due_at = now() + make_interval(secs => greatest(0, k.due_ms - $5::float8) / 1000), updated_at = now()
       from unnest($1::uuid[], $2::text[], $3::bytea[], $4::float8[]) as k(neuron_id, series, state, due_ms)
       where s.org_id = hal9_org() and s.neuron_id = k.neuron_id and s.series = k.series`,
      [
        slice.map((state) => state.neuronId),
        slice.map((state) => state.series),
        slice.map((state) => Buffer.from(state.bytes.buffer, state.bytes.byteOffset, state.bytes.byteLength)),
        slice.map((state) => state.dueMs),
        commit.watermarkMs,
      ],
    );
  }
  if (forgotten.length > 0) {
    await client.query(
      `delete from neuron_states s using unnest($1::uuid[], $2::text[]) as k(neuron_id, series) where s.org_id = hal9_org() and s.neuron_id = k.neuron_id and s.series = k.series`,
      [forgotten.map((state) => state.neuronId), forgotten.map((state) => state.series)],
    );
  }
}

function* slices<T>(rows: readonly T[]): Generator<readonly T[]> {
  if (rows.length > 0 && rows.length <= ROWS_PER_INSERT) yield rows;
  else for (let from = 0; from < rows.length; from += ROWS_PER_INSERT) yield rows.slice(from, from + ROWS_PER_INSERT);
}

/** Escapes that PostgreSQL's JSON refuses: U+0000 and halves of surrogate pairs. */
const UNSTORABLE = /\\u(?:0000|d[89a-f])/i;

/** JSON that PostgreSQL takes: neurons may compute strings it could not store. */
export function storableJson(value: unknown): string {
  const text = JSON.stringify(value);
  return UNSTORABLE.test(text) ? JSON.stringify(storable(value)) : text;
}

function storable(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('\0', '\uFFFD').toWellFormed();
  if (Array.isArray(value)) return value.map(storable);
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, member]) => [storable(key), storable(member)]));
  return value;
}
