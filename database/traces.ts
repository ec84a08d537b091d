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

/** A match of an automation, with the names of what it is about. */
export interface TracedFiring {
  readonly id: string;
  /** Null when the automation was deleted. */
  readonly automation: string | null;
  readonly signalKey: string;
  readonly signalType: string;
  readonly state: 'pending' | 'fired' | 'skipped' | 'failed';
  readonly reason: string | null;
  readonly runId: string | null;
  readonly emittedKey: string | null;
  /** Type of the signal it sent. */
  readonly emittedType: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

/** A firing of a schedule. */
export interface TracedScheduleFiring {
  readonly scheduleId: string;
  readonly schedule: string | null;
  readonly dueAt: Date;
  readonly state: string;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

/** A question to people. */
export interface TracedApproval {
  readonly id: string;
  readonly runId: string;
  readonly decisionId: string | null;
  readonly summary: string;
  readonly state: string;
  readonly outcome: string | null;
  /** Operation that a yes starts. */
  readonly operation: string | null;
  readonly createdAt: Date;
  readonly closedAt: Date | null;
}

/** A message that left, to an endpoint or through a connection. */
export interface TracedMessage {
  readonly id: string;
  /** What it is about, e.g. `run.completed`, or its title. */
  readonly what: string;
  /** Name of the endpoint or connection. */
  readonly to: string;
  /** Id of the run, decision or approval it is about. */
  readonly about: string;
  readonly state: string;
  readonly failure: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

/** Most emissions of one trace; a correlator's group may rest on, and lead to, thousands. */
export const MOST_TRACED = 500;

const COLUMNS = `e.id, e.batch_id as "batchId", e.layer, e.target_layer as "targetLayer", e.direction, e.neuron_id as "neuronId", e.neuron_version as "neuronVersion",
  e.neuron_name as "neuronName", e.type, e.subject, e.severity, e.event_time as "eventTime", e.data, e.causes, e.depth, e.created_at as "createdAt"`;

const FIRING = `f.id, a.name as automation, f.signal_key as "signalKey", f.signal_type as "signalType", f.state, f.reason, f.run_id as "runId", f.emitted_key as "emittedKey",
  f.effect ->> 'type' as "emittedType", f.created_at as "createdAt", f.done_at as "doneAt" from automation_firings f left join automations a on a.org_id = f.org_id and a.id = f.automation_id`;
const APPROVAL = `id, run_id as "runId", decision_id as "decisionId", summary, state, outcome, effect -> 'operation' ->> 'type' as operation, created_at as "createdAt", closed_at as "closedAt" from approvals`;

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

  async emission(orgId: string, id: string): Promise<TracedEmission | undefined> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<TracedEmission>(`select ${COLUMNS} from emissions e where e.org_id = hal9_org() and e.id = $1`, [id]);
      return rows[0];
    });
  }

  /** One match of an automation. */
  async firing(orgId: string, id: string): Promise<TracedFiring | undefined> {
    return (await this.#ask<TracedFiring>(orgId, `select ${FIRING} where f.org_id = hal9_org() and f.id = $1`, [id]))[0];
  }

  /** What automations did for these signals, oldest first, without what they passed over. */
  async firingsOf(orgId: string, signals: readonly string[]): Promise<TracedFiring[]> {
    return this.#ask(orgId, `select ${FIRING} where f.org_id = hal9_org() and f.signal_key = any($1) and f.effect is not null order by f.seq limit ${MOST_TRACED}`, [signals]);
  }

  async scheduleFiring(orgId: string, id: string): Promise<TracedScheduleFiring | undefined> {
    const rows = await this.#ask<TracedScheduleFiring>(
      orgId,
      `select f.schedule_id as "scheduleId", s.name as schedule, f.due_at as "dueAt", f.state, f.created_at as "createdAt", f.done_at as "doneAt"
       from schedule_firings f left join schedules s on s.org_id = f.org_id and s.id = f.schedule_id where f.org_id = hal9_org() and f.id = $1`,
      [id],
    );
    return rows[0];
  }

  /** Name of an incoming webhook; undefined when it is gone. */
  async webhookName(orgId: string, id: string): Promise<string | undefined> {
    return (await this.#ask<{ name: string }>(orgId, 'select name from webhooks where org_id = hal9_org() and id = $1', [id]))[0]?.name;
  }

  async approval(orgId: string, id: string): Promise<TracedApproval | undefined> {
    return (await this.#ask<TracedApproval>(orgId, `select ${APPROVAL} where org_id = hal9_org() and id = $1`, [id]))[0];
  }

  /** What these runs and decisions waited for. */
  async approvalsOf(orgId: string, runIds: readonly string[], decisionIds: readonly string[]): Promise<TracedApproval[]> {
    return this.#ask(orgId, `select ${APPROVAL} where org_id = hal9_org() and (run_id = any($1) or decision_id = any($2)) order by created_at limit ${MOST_TRACED}`, [runIds, decisionIds]);
  }

  /** Messages to endpoints about these runs, decisions and the approvals of either. */
  async webhooksOf(orgId: string, runIds: readonly string[], decisionIds: readonly string[]): Promise<TracedMessage[]> {
    return this.#ask(
      orgId,
      `select m.id, m.type as what, e.name as "to", m.state, m.last_failure as failure, m.created_at as "createdAt", m.done_at as "doneAt",
         coalesce(m.data ->> 'approvalId', case when m.type like 'decision.%' then m.data ->> 'decisionId' else m.data ->> 'runId' end) as about
       from webhook_messages m join webhook_endpoints e on e.org_id = m.org_id and e.id = m.endpoint_id
       where m.org_id = hal9_org() and (m.data ->> 'runId' = any($1) or m.data ->> 'decisionId' = any($2)) order by m.seq limit ${MOST_TRACED}`,
      [runIds, decisionIds],
    );
  }

  /** Messages through connections. @param keys by the dedup key of the message, or by its beginning up to a slash, what it is about. */
  async notificationsOf(orgId: string, keys: ReadonlyMap<string, string>): Promise<TracedMessage[]> {
    return this.#ask(
      orgId,
      `select n.id, n.title as what, n.connection_name as "to", k.about, n.state, n.last_failure as failure, n.created_at as "createdAt", n.delivered_at as "doneAt"
       from unnest($1::text[], $2::text[]) as k (key, about)
       join notifications n on n.org_id = hal9_org() and (n.dedup_key collate "C" = k.key or (n.dedup_key collate "C" >= k.key || '/' and n.dedup_key collate "C" < k.key || '0'))
       order by n.created_at limit ${MOST_TRACED}`,
      [[...keys.keys()], [...keys.values()]],
    );
  }

  /** Runs that others were started again as, and those that bulk actions started. @param bulk ids of bulk actions among them. */
  async followersOf(orgId: string, runIds: readonly string[], bulk: readonly string[]): Promise<{ readonly from: string; readonly runId: string }[]> {
    return this.#ask(
      orgId,
      `select run_id as "from", retried_by as "runId" from runs where org_id = hal9_org() and run_id = any($1) and retried_by is not null
       union all (select 'bulk~' || bulk_id, new_run_id from bulk_items where org_id = hal9_org() and bulk_id = any($2) and new_run_id is not null order by bulk_id, n limit ${MOST_TRACED})`,
      [runIds, bulk],
    );
  }

  async #ask<Row extends pg.QueryResultRow>(orgId: string, text: string, values: readonly unknown[]): Promise<Row[]> {
    if (values.every((value) => Array.isArray(value) && value.length === 0)) return [];
    return this.#database.withOrgClient(orgId, async (client) => (await client.query<Row>(text, [...values])).rows);
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
