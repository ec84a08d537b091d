import type pg from 'pg';
import type { Layer } from '../schemas/names/layers.ts';
import type { Neuron, NeuronDraft, Severity } from '../schemas/neurons/definition.ts';

/** A batch as the evaluation of one of its stages finds it. */
export interface BatchHeader {
  readonly id: string;
  readonly lane: number;
  readonly mode: 'batch' | 'interactive' | 'clock';
  readonly depth: number;
  readonly state: 'open' | 'decided' | 'failed';
  readonly signals: number;
  readonly traceparent: string | null;
  /** Grows with every change of the organisation's neurons; 0 while it has none. */
  readonly generation: number;
  /** What an earlier attempt at this stage stored, if it committed. */
  readonly storedSummary: unknown;
  /** The signal of an interactive batch as {@link readBatchSignals} takes it; null for the others, whose signals may be millions of bytes. */
  readonly envelope: string | null;
  readonly ref: string | null;
}

/** One signal of a batch: HAL9's id and its envelope. */
export interface StoredSignal {
  readonly ref: string;
  /** A CloudEvent's members, or undefined when the text cannot be read as a JSON object. */
  readonly envelope: Record<string, unknown> | undefined;
  /** Whether HAL9 itself wrote the signal (a delegation), so that its `hal9...` attributes are to be trusted. */
  readonly delegated: boolean;
}

/** An emission of a lower layer, as the next layer reads it. */
export interface StoredEmission {
  readonly id: string;
  readonly neuronName: string;
  readonly type: string;
  readonly subject: string | null;
  readonly correlationKey: string;
  readonly severity: Severity;
  readonly timeMs: number;
  readonly data: unknown;
  readonly path: readonly string[];
  readonly depth: number;
}

export interface StateKey {
  readonly neuronId: string;
  readonly series: string;
}

/** Envelopes of one read: bounds the one text PostgreSQL builds (1 GB) and V8 parses (512 MB). */
const ROWS_PER_READ = 10_000;
/** Beyond every ordinal. */
const ALL = 2_147_483_647;
const BYTES_PER_READ = 64 * 1024 * 1024;

/** Reads what a stage starts from. Undefined when the organisation has no such batch. */
export async function readBatchHeader(client: pg.ClientBase, batchId: string, stage: string): Promise<BatchHeader | undefined> {
  const { rows } = await client.query<BatchHeader>({
    name: 'cascade-batch-header',
    text: `select b.id, b.lane, b.mode, b.depth, b.state, b.signals, b.traceparent,
             coalesce((select generation from neuron_generations), 0)::float8 as generation,
             (select summary from layer_results where org_id = b.org_id and batch_id = b.id and layer = $2) as "storedSummary", s.envelope, s.key as ref
           from batches b left join lateral (
             select s.envelope, s.key from chunks c join signals s on s.org_id = c.org_id and s.received_on = c.received_on and s.chunk_id = c.id
             where b.mode = 'interactive' and c.org_id = b.org_id and c.batch_id = b.id limit 1
           ) s on true
           where b.org_id = hal9_org() and b.id = $1`,
    values: [batchId, stage],
  });
  return rows[0];
}

/** The summary a stage of this batch stored; undefined while it has not committed. */
export async function readLayerResult(client: pg.ClientBase, batchId: string, stage: string): Promise<unknown> {
  const { rows } = await client.query<{ summary: unknown }>('select summary from layer_results where batch_id = $1 and layer = $2', [batchId, stage]);
  return rows[0]?.summary;
}

interface ChunkOfBatch {
  id: number;
  received_on: string;
  depth: number;
  count: number;
  /** Highest ordinal + 1: ordinals of a chunk may have gaps. */
  extent: number;
  bytes: number;
}

/**
 * The signals of a batch in order. Envelopes come as one JSON array a read: parsing that text costs a third of parsing row by row.
 */
export async function readBatchSignals(client: pg.ClientBase, batch: Pick<BatchHeader, 'id' | 'envelope' | 'ref'>): Promise<StoredSignal[]> {
  if (batch.envelope !== null && batch.ref !== null) return [{ ref: batch.ref, envelope: parseEnvelope(batch.envelope), delegated: false }];
  const { rows: chunks } = await client.query<ChunkOfBatch>({
    name: 'cascade-batch-chunks',
    text: `select c.id, c.received_on, c.depth, count(s.key)::int as count, coalesce(max(s.ordinal) + 1, 0) as extent, coalesce(sum(octet_length(s.envelope)), 0)::float8 as bytes
           from chunks c left join signals s on s.org_id = c.org_id and s.received_on = c.received_on and s.chunk_id = c.id
           where c.batch_id = $1 group by c.id, c.received_on, c.depth order by c.id`,
    values: [batch.id],
  });
  const signals: StoredSignal[] = [];
  for (const group of groupsToRead(chunks)) {
    await readGroup(client, group, signals);
  }
  return signals;
}

interface ReadGroup {
  receivedOn: string;
  delegated: boolean;
  chunks: number[];
  count: number;
  extent: number;
  /** Ordinals a read. */
  slice: number;
}

/** Joins neighbouring chunks of a day into reads of bounded size, and splits a chunk that alone is too large. */
function groupsToRead(chunks: readonly ChunkOfBatch[]): ReadGroup[] {
  const groups: ReadGroup[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    const last = groups.at(-1);
    const delegated = chunk.depth > 0;
    if (chunk.count > ROWS_PER_READ || chunk.bytes > BYTES_PER_READ) {
      const slice = Math.max(1, Math.min(ROWS_PER_READ, Math.floor((BYTES_PER_READ * chunk.extent) / chunk.bytes)));
      groups.push({ receivedOn: chunk.received_on, delegated, chunks: [chunk.id], count: chunk.count, extent: chunk.extent, slice });
      bytes = Infinity;
      continue;
    }
    const fits = last !== undefined && last.receivedOn === chunk.received_on && last.delegated === delegated;
    if (fits && last.count + chunk.count <= ROWS_PER_READ && bytes + chunk.bytes <= BYTES_PER_READ) {
      last.chunks.push(chunk.id);
      last.count += chunk.count;
      last.extent = Math.max(last.extent, chunk.extent);
      bytes += chunk.bytes;
    } else {
      groups.push({ receivedOn: chunk.received_on, delegated, chunks: [chunk.id], count: chunk.count, extent: chunk.extent, slice: ALL });
      bytes = chunk.bytes;
    }
  }
  return groups;
}

async function readGroup(client: pg.ClientBase, group: ReadGroup, into: StoredSignal[]): Promise<void> {
  for (let from = 0; from < group.extent; from += group.slice) {
    const { rows } = await client.query<{ envelopes: string | null; keys: string | null }>(
      `select '[' || string_agg(envelope, ',') || ']' as envelopes, string_agg(key::text, '') as keys
       from (select envelope, key from signals where org_id = hal9_org() and received_on = $1 and chunk_id = any($2)
             and ordinal >= $3 and ordinal < $4 order by chunk_id, ordinal) s`,
      [group.receivedOn, group.chunks, from, Math.min(ALL, from + group.slice)],
    );
    const row = rows[0];
    if (row === undefined || row.envelopes === null || row.keys === null) continue;
    const keys = row.keys;
    const envelopes = parseArray(row.envelopes);
    if (envelopes !== undefined && envelopes.length === keys.length / 36) {
      for (const [index, envelope] of envelopes.entries()) {
        into.push({ ref: keys.slice(index * 36, index * 36 + 36), envelope: isRecord(envelope) ? envelope : undefined, delegated: group.delegated });
      }
    } else {
      await readOneByOne(client, group, from, into);
    }
  }
}

/** The slow way, when one envelope spoils the array. */
async function readOneByOne(client: pg.ClientBase, group: ReadGroup, from: number, into: StoredSignal[]): Promise<void> {
  const { rows } = await client.query<{ key: string; envelope: string }>(
    `select key, envelope from signals where org_id = hal9_org() and received_on = $1 and chunk_id = any($2)
     and ordinal >= $3 and ordinal < $4 order by chunk_id, ordinal`,
    [group.receivedOn, group.chunks, from, Math.min(ALL, from + group.slice)],
  );
  for (const { key, envelope } of rows) {
    into.push({ ref: key, envelope: parseEnvelope(envelope), delegated: group.delegated });
  }
}

function parseEnvelope(text: string): Record<string, unknown> | undefined {
  const parsed = parseArray(`[${text}]`);
  const first: unknown = parsed?.length === 1 ? parsed[0] : undefined;
  return isRecord(first) ? first : undefined;
}

function parseArray(text: string): unknown[] | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The emissions of this batch that go up into `layer`, in the order they were made. */
export async function readEmissionsFor(client: pg.ClientBase, batchId: string, layer: Layer): Promise<StoredEmission[]> {
  const { rows } = await client.query<StoredEmission>({
    name: 'cascade-emissions-for',
    text: `select id, neuron_name as "neuronName", type, subject, correlation_key as "correlationKey", severity,
             (extract(epoch from event_time) * 1000)::float8 as "timeMs", data, path, depth
           from emissions where batch_id = $1 and target_layer = $2 and direction = 'up' order by layer, ordinal`,
    values: [batchId, layer],
  });
  return rows;
}

/** Neurons that have a window due by the event time, or for the clock by now; with the latest such event time, ms. */
export async function readDueNeurons(client: pg.ClientBase, due: { watermarkMs: number } | 'now'): Promise<{ neuronIds: string[]; latestMs: number }> {
  const { rows } = await client.query<{ neuron_id: string; latest: number }>(
    due === 'now'
      ? { name: 'cascade-due-now', text: `select neuron_id, max(extract(epoch from due_event_at) * 1000)::float8 as latest from neuron_states where due_at <= now() and due_event_at is not null group by neuron_id`, values: [] }
      : { name: 'cascade-due-events', text: `select neuron_id, max(extract(epoch from due_event_at) * 1000)::float8 as latest from neuron_states where org_id = hal9_org() and due_event_at <= to_timestamp($1::float8 / 1000) group by neuron_id`, values: [due.watermarkMs] },
  );
  return { neuronIds: rows.map((row) => row.neuron_id), latestMs: Math.max(0, ...rows.map((row) => row.latest)) };
}

/** The states of these neurons that are due by the event time, sorted; for the clock only those that are due by now as well. */
export async function readDueStates(client: pg.ClientBase, neuronIds: readonly string[], watermarkMs: number, clock: boolean): Promise<StateKey[]> {
  const { rows } = await client.query<StateKey>(
    `select neuron_id as "neuronId", series from neuron_states
     where org_id = hal9_org() and due_event_at <= to_timestamp($1::float8 / 1000) and neuron_id = any($2) and (not $3::boolean or due_at <= now()) order by neuron_id, series`,
    [watermarkMs, neuronIds, clock],
  );
  return rows;
}

/**
 * Makes this transaction the one owner of the states until it ends, then reads them. The rows are locked in one sorted pass, and
 * those that do not exist yet are created empty by it, so two owners never wait for each other in a circle.
 */
export async function lockStates(client: pg.ClientBase, keys: readonly StateKey[]): Promise<Map<string, Map<string, Uint8Array>>> {
  const ids = keys.map((key) => key.neuronId);
  const series = keys.map((key) => key.series);
  await client.query(
    `insert into neuron_states as s (org_id, neuron_id, series, state)
     select hal9_org(), k.neuron_id, k.series, '' from unnest($1::uuid[], $2::text[]) as k(neuron_id, series)
     group by k.neuron_id, k.series order by k.neuron_id, k.series
     on conflict (org_id, neuron_id, series) do update set state = s.state where false`,
    [ids, series],
  );
  const { rows } = await client.query<{ neuron_id: string; series: string; state: Buffer }>(
    `select s.neuron_id, s.series, s.state from neuron_states s
     join (select distinct neuron_id, series from unnest($1::uuid[], $2::text[]) as u(neuron_id, series)) k
       on s.org_id = hal9_org() and s.neuron_id = k.neuron_id and s.series = k.series
     where octet_length(s.state) > 0`,
    [ids, series],
  );
  const states = new Map<string, Map<string, Uint8Array>>();
  for (const row of rows) {
    let bySeries = states.get(row.neuron_id);
    if (bySeries === undefined) states.set(row.neuron_id, (bySeries = new Map()));
    bySeries.set(row.series, row.state);
  }
  return states;
}

/** The organisation's enabled neurons, for compilation, sorted by id. */
export async function readEnabledNeurons(client: pg.ClientBase): Promise<Neuron[]> {
  const { rows } = await client.query<{ id: string; version: number; draft: NeuronDraft }>('select id, version, draft from neurons where enabled order by id');
  return rows.map((row) => ({ ...row.draft, id: row.id, version: row.version }));
}
