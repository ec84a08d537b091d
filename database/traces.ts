import type pg from 'pg';
import type { Database } from './database.ts';

/** An emission as a trace shows it. */
export interface TracedEmission {
  readonly id: string;
  readonly batchId: string;
  readonly layer: string;
  readonly targetLayer: string;
  readonly direction: 'up' | 'down';
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly neuronName: string;
  readonly type: string;
  readonly subject: string | null;
  readonly severity: string;
  readonly eventTime: Date;
  readonly data: unknown;
  /** Ids of signals and emissions. */
  readonly causes: readonly string[];
  readonly depth: number;
  readonly createdAt: Date;
}

export interface TracedCall {
  readonly id: string;
  readonly layer: string;
  readonly neuronId: string;
  readonly ref: string;
  readonly costUsd: string;
  /** Why the fallback rules applied; null when there was an answer. */
  readonly fallback: string | null;
  readonly answeredAt: Date | null;
}

/** Most emissions of one trace; a correlator's group may rest on, and lead to, thousands. */
export const MOST_TRACED = 500;

const COLUMNS = `e.id, e.batch_id as "batchId", e.layer, e.target_layer as "targetLayer", e.direction, e.neuron_id as "neuronId", e.neuron_version as "neuronVersion",
  e.neuron_name as "neuronName", e.type, e.subject, e.severity, e.event_time as "eventTime", e.data, e.causes, e.depth, e.created_at as "createdAt"`;

/** Follows a signal through the layers: up by the causes of emissions, in whatever batch they were made, and down by delegations. */
export class TraceStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Every emission that rests on the signal, nearest first.
   * @param batchId the batch that took the signal.
   * @returns with `truncated` when there are more than {@link MOST_TRACED}.
   */
  async emissionsFrom(orgId: string, signalId: string, batchId: string): Promise<{ emissions: TracedEmission[]; truncated: boolean }> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const found = new Map<string, TracedEmission>();
      let frontier: { id: string; batchId: string | null }[] = [{ id: signalId, batchId }];
      while (frontier.length > 0 && found.size < MOST_TRACED) {
        const next = await step(client, frontier);
        const fresh = next.filter((emission) => !found.has(emission.id));
        for (const emission of fresh) found.set(emission.id, emission);
        const delegated = await batchesOfSignals(client, fresh.filter((emission) => emission.direction === 'down').map((emission) => emission.id));
        frontier = fresh.map((emission) => ({ id: emission.id, batchId: delegated.get(emission.id) ?? null }));
      }
      const emissions = [...found.values()];
      return { emissions: emissions.slice(0, MOST_TRACED), truncated: emissions.length > MOST_TRACED };
    });
  }

  /** Dead letters of these signals and emissions. */
  async deadLettersFor(orgId: string, refs: readonly string[]): Promise<{ id: string; layer: string; ref: string; failure: string; cause: string }[]> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<{ id: string; layer: string; ref: string; failure: string; cause: string }>(
        'select id, layer, ref, failure, cause from dead_letters where org_id = hal9_org() and ref = any($1) order by created_at limit 200',
        [refs],
      );
      return rows;
    });
  }

  /** Calls outside that were made for any of these signals and emissions. */
  async callsFor(orgId: string, batchIds: readonly string[], refs: readonly string[]): Promise<TracedCall[]> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<TracedCall>(
        `select id, layer, neuron_id as "neuronId", signal->>'ref' as ref, cost_usd as "costUsd", fallback, answered_at as "answeredAt"
         from external_calls where org_id = hal9_org() and batch_id = any($1) and signal->>'ref' = any($2) order by created_at, ordinal`,
        [batchIds, refs],
      );
      return rows;
    });
  }
}

/** One step away from the frontier. L2's emissions are found through the batch of their signal, the others by an index over causes. */
async function step(client: pg.ClientBase, frontier: readonly { id: string; batchId: string | null }[]): Promise<TracedEmission[]> {
  const ids = frontier.map((one) => one.id);
  const batches = [...new Set(frontier.flatMap((one) => one.batchId ?? []))];
  const { rows } = await client.query<TracedEmission>(
    `select ${COLUMNS} from emissions e where e.org_id = hal9_org() and e.batch_id = any($2) and e.layer = 'L2' and e.causes && $1
     union all select ${COLUMNS} from emissions e where e.org_id = hal9_org() and e.layer <> 'L2' and e.causes && $1
     limit ${MOST_TRACED + 1}`,
    [ids, batches],
  );
  return rows.toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
}

/** Delegations are signals of the same id; the batches that took them. */
async function batchesOfSignals(client: pg.ClientBase, ids: readonly string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<{ key: string; batch_id: string }>(
    `select k.key, c.batch_id from signal_keys k join chunks c on c.org_id = k.org_id and c.id = k.chunk_id where k.org_id = hal9_org() and k.key = any($1) and c.batch_id is not null`,
    [ids],
  );
  return new Map(rows.map((row) => [row.key, row.batch_id]));
}
