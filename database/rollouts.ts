import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';
import type { RunTables } from './run-tables.ts';

export type RolloutUnitState = 'waiting' | 'running' | 'new' | 'old' | 'edited';
export type RolloutOutcome = 'pass' | 'fail' | 'inconclusive';

type RunRow = Selectable<RunTables['runs']>;

type Json<Value> = ColumnType<Value, string, string>;

export interface RolloutTables {
  rollouts: { org_id: string; run_id: string; seq: Generated<string>; created_at: Timestamp };
  rollout_units: {
    org_id: string;
    run_id: string;
    service: string;
    cluster: string;
    seq: Generated<string>;
    wave: string;
    namespace: string;
    workload: string;
    replicas: number;
    strategy: 'rolling' | 'canary' | 'blue-green';
    steps: ColumnType<RolloutPlannedStep[] | null, string | null, string | null>;
    from_images: Json<Record<string, string>>;
    to_images: Json<Record<string, string>>;
    state: Generated<RolloutUnitState>;
    changed_at: Timestamp;
  };
  rollout_steps: { org_id: string; run_id: string; seq: Generated<string>; key: string; at: Timestamp; service: string; cluster: string; step: string; share: ColumnType<string | null, number | null, never> };
  rollout_verdicts: {
    org_id: string;
    run_id: string;
    seq: Generated<string>;
    key: string;
    at: Date;
    service: string;
    cluster: string;
    step: string;
    metric: string;
    outcome: RolloutOutcome;
    reason: string;
    queries: Json<Record<string, string>>;
    samples: Json<Record<string, (number | null)[]>>;
    statistic: Json<Record<string, number | string | null>>;
    threshold: Json<Record<string, number | string | null>>;
  };
}

export interface RolloutPlannedStep {
  /** Per cent. */
  readonly weight: number;
  readonly soakSeconds: number;
  /** People asked before. */
  readonly approvals: number;
}

/** Names a unit: a service in a cluster. */
export interface RolloutUnitKey {
  readonly orgId: string;
  readonly runId: string;
  readonly service: string;
  readonly cluster: string;
}

export interface RolloutUnitPlan {
  readonly wave: string;
  readonly namespace: string;
  readonly workload: string;
  readonly replicas: number;
  readonly strategy: 'rolling' | 'canary' | 'blue-green';
  readonly steps: readonly RolloutPlannedStep[] | null;
  readonly from: Readonly<Record<string, string>>;
  readonly to: Readonly<Record<string, string>>;
}

export interface RolloutUnitRecord extends RolloutUnitPlan {
  readonly service: string;
  readonly cluster: string;
  readonly state: RolloutUnitState;
  readonly changedAt: Date;
}

export interface RolloutStepRecord {
  readonly at: Date;
  readonly service: string;
  readonly cluster: string;
  readonly step: string;
  /** Per cent of the traffic that the new version gets since; null where the step changed none. */
  readonly share: number | null;
}

export interface RolloutVerdictRecord {
  readonly at: Date;
  readonly service: string;
  readonly cluster: string;
  readonly step: string;
  readonly metric: string;
  readonly outcome: RolloutOutcome;
  readonly reason: string;
  readonly queries: Readonly<Record<string, string>>;
  readonly samples: Readonly<Record<string, readonly (number | null)[]>>;
  readonly statistic: Readonly<Record<string, number | string | null>>;
  readonly threshold: Readonly<Record<string, number | string | null>>;
}

export interface RolloutRecord {
  readonly runId: string;
  readonly seq: number;
  /** Of the run; null until the read model knows it, and again when it has forgotten it. */
  readonly status: RunRow['status'] | null;
  readonly createdAt: Date;
  readonly closedAt: Date | null;
  readonly units: readonly RolloutUnitRecord[];
}

/** Steps of one rollout that are read at most. */
const MOST_STEPS = 5000;

/** What rollouts were to do, did and judged. Written by their activities. */
export class RolloutStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Puts a rollout on record, once. */
  async begin(orgId: string, runId: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.insertInto('rollouts').values({ org_id: orgId, run_id: runId }).onConflict((conflict) => conflict.doNothing()).execute());
  }

  /** Puts a unit of a rollout on record, once. */
  async plan({ orgId, runId, service, cluster }: RolloutUnitKey, { wave, namespace, workload, replicas, strategy, steps, from, to }: RolloutUnitPlan): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('rollout_units')
        .values({ org_id: orgId, run_id: runId, service, cluster, wave, namespace, workload, replicas, strategy, steps: steps === null ? null : JSON.stringify(steps), from_images: JSON.stringify(from), to_images: JSON.stringify(to) })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    });
  }

  /** Puts a step on record, once for a key; with a state it is that of the unit from now on. Does nothing for a rollout that was begun before there were records. */
  async record(unit: RolloutUnitKey, { key, step, share, state }: { readonly key: string; readonly step: string; readonly share?: number; readonly state?: RolloutUnitState }): Promise<void> {
    const { orgId, runId, service, cluster } = unit;
    await this.#database.withOrg(orgId, async (tx) => {
      if (!(await isKnown(tx, unit))) return;
      await tx.insertInto('rollout_steps').values({ org_id: orgId, run_id: runId, key, service, cluster, step, share: share ?? null }).onConflict((conflict) => conflict.doNothing()).execute();
      if (state !== undefined) await tx.updateTable('rollout_units').set({ state, changed_at: new Date() }).where('org_id', '=', orgId).where('run_id', '=', runId).where('service', '=', service).where('cluster', '=', cluster).execute();
    });
  }

  /** Puts the verdicts of a look on record; of an attempt made again, the last ones. */
  async judge(unit: RolloutUnitKey, key: string, verdicts: readonly RolloutVerdictRecord[]): Promise<void> {
    const { orgId, runId } = unit;
    if (verdicts.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      if (!(await isKnown(tx, unit))) return;
      const rows = verdicts.map(({ queries, samples, statistic, threshold, ...verdict }) => ({ org_id: orgId, run_id: runId, key: `${key}/${verdict.metric}`, ...verdict, queries: JSON.stringify(queries), samples: JSON.stringify(samples), statistic: JSON.stringify(statistic), threshold: JSON.stringify(threshold) }));
      await tx
        .insertInto('rollout_verdicts')
        .values(rows)
        .onConflict((conflict) => conflict.columns(['org_id', 'run_id', 'key']).doUpdateSet((row) => ({ at: row.ref('excluded.at'), outcome: row.ref('excluded.outcome'), reason: row.ref('excluded.reason'), queries: row.ref('excluded.queries'), samples: row.ref('excluded.samples'), statistic: row.ref('excluded.statistic'), threshold: row.ref('excluded.threshold') })))
        .execute();
    });
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(orgId: string, limit: number, before?: number): Promise<RolloutRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let select = rollouts(tx, orgId).orderBy('o.seq', 'desc').limit(limit);
      if (before !== undefined) select = select.where('o.seq', '<', String(before));
      const found = await select.execute();
      const units = await unitsOf(tx, orgId, found.map(({ runId }) => runId));
      return found.map((one) => ({ ...one, seq: Number(one.seq), units: units.get(one.runId) ?? [] }));
    });
  }

  /** One rollout with its steps in order. */
  async find(orgId: string, runId: string): Promise<{ readonly rollout: RolloutRecord; readonly steps: readonly RolloutStepRecord[] } | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const found = await rollouts(tx, orgId).where('o.run_id', '=', runId).executeTakeFirst();
      if (found === undefined) return undefined;
      const steps = await tx.selectFrom('rollout_steps').select(['at', 'service', 'cluster', 'step', 'share']).where('org_id', '=', orgId).where('run_id', '=', runId).orderBy('seq').limit(MOST_STEPS).execute();
      return {
        rollout: { ...found, seq: Number(found.seq), units: (await unitsOf(tx, orgId, [runId])).get(runId) ?? [] },
        steps: steps.map(({ share, ...step }) => ({ ...step, share: share === null ? null : Number(share) })),
      };
    });
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async verdicts(orgId: string, runId: string, limit: number, filter: { readonly outcome?: RolloutOutcome | undefined; readonly before?: number | undefined }): Promise<(RolloutVerdictRecord & { readonly seq: number })[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let select = tx
        .selectFrom('rollout_verdicts')
        .select(['seq', 'at', 'service', 'cluster', 'step', 'metric', 'outcome', 'reason', 'queries', 'samples', 'statistic', 'threshold'])
        .where('org_id', '=', orgId)
        .where('run_id', '=', runId)
        .orderBy('seq', 'desc')
        .limit(limit);
      if (filter.outcome !== undefined) select = select.where('outcome', '=', filter.outcome);
      if (filter.before !== undefined) select = select.where('seq', '<', String(filter.before));
      return (await select.execute()).map((row) => ({ ...row, seq: Number(row.seq) }));
    });
  }
}

function rollouts(tx: Tx, orgId: string) {
  return tx
    .selectFrom('rollouts as o')
    .leftJoin('runs as r', (join) => join.onRef('r.org_id', '=', 'o.org_id').onRef('r.run_id', '=', 'o.run_id'))
    .select(['o.run_id as runId', 'o.seq', 'o.created_at as createdAt', 'r.status', 'r.closed_at as closedAt'])
    .where('o.org_id', '=', orgId);
}

async function isKnown(tx: Tx, { orgId, runId, service, cluster }: RolloutUnitKey): Promise<boolean> {
  const found = await tx.selectFrom('rollout_units').select(sql<number>`1`.as('one')).where('org_id', '=', orgId).where('run_id', '=', runId).where('service', '=', service).where('cluster', '=', cluster).executeTakeFirst();
  return found !== undefined;
}

async function unitsOf(tx: Tx, orgId: string, runIds: readonly string[]): Promise<Map<string, RolloutUnitRecord[]>> {
  const units = new Map<string, RolloutUnitRecord[]>();
  if (runIds.length === 0) return units;
  const rows = await tx
    .selectFrom('rollout_units')
    .select(['run_id as runId', 'service', 'cluster', 'wave', 'namespace', 'workload', 'replicas', 'strategy', 'steps', 'from_images as from', 'to_images as to', 'state', 'changed_at as changedAt'])
    .where('org_id', '=', orgId)
    .where('run_id', 'in', runIds)
    .orderBy('seq')
    .execute();
  for (const { runId, ...unit } of rows) units.set(runId, [...(units.get(runId) ?? []), unit]);
  return units;
}
