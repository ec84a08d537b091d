import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface HealthTables {
  health_components: {
    org_id: string;
    name: string;
    kind: string;
    state: 'healthy' | 'degraded' | 'unhealthy';
    detail: string;
    depends_on: string[];
    since: Timestamp;
    reported_at: Timestamp;
    stale_seconds: number;
  };
  health_recoveries: {
    org_id: string;
    id: string;
    component: string;
    action: string;
    reason: string;
    outcome: 'succeeded' | 'failed';
    started_at: Timestamp;
    ended_at: Timestamp;
  };
}

/** Stands for the platform itself where a row needs an organisation. */
const PLATFORM = '00000000-0000-0000-0000-000000000000';
/** Components that fell silent are forgotten after this. */
const FORGET_INTERVAL = '1 hour';
const RECOVERIES_KEPT = '30 days';

export interface HealthReport {
  name: string;
  kind: string;
  state: 'healthy' | 'degraded' | 'unhealthy';
  detail: string;
  dependsOn: readonly string[];
  since: Date;
  /** Seconds after which silence means trouble. */
  staleSeconds: number;
}

export interface StoredHealthReport extends HealthReport {
  reportedAt: Date;
  /** Whether its time ran out, by the database's clock. */
  stale: boolean;
}

export interface Recovery {
  id: string;
  component: string;
  action: string;
  reason: string;
  outcome: 'succeeded' | 'failed';
  startedAt: Date;
  endedAt: Date;
}

/** Health of the platform's own components, which belong to no organisation. */
export class HealthStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Writes reports and recoveries of the platform. Recoveries are written once per id. */
  async recordForPlatform(reports: readonly HealthReport[], recoveries: readonly Recovery[]): Promise<void> {
    await this.#database.system.transaction().execute(async (tx) => {
      if (reports.length > 0) {
        await tx
          .insertInto('health_components')
          .values(
            reports.map((report) => ({
              org_id: PLATFORM,
              name: report.name,
              kind: report.kind,
              state: report.state,
              detail: report.detail,
              depends_on: [...report.dependsOn],
              since: report.since,
              stale_seconds: report.staleSeconds,
            })),
          )
          .onConflict((conflict) =>
            conflict.columns(['org_id', 'name']).doUpdateSet((row) => ({
              kind: row.ref('excluded.kind'),
              state: row.ref('excluded.state'),
              detail: row.ref('excluded.detail'),
              depends_on: row.ref('excluded.depends_on'),
              since: row.ref('excluded.since'),
              reported_at: sql<Date>`now()`,
              stale_seconds: row.ref('excluded.stale_seconds'),
            })),
          )
          .execute();
        await tx.deleteFrom('health_components').where('org_id', '=', PLATFORM).where('reported_at', '<', sql<Date>`now() - ${FORGET_INTERVAL}::interval`).execute();
      }
      if (recoveries.length > 0) {
        await tx
          .insertInto('health_recoveries')
          .values(
            recoveries.map(({ id, component, action, reason, outcome, startedAt, endedAt }) => ({ org_id: PLATFORM, id, component, action, reason, outcome, started_at: startedAt, ended_at: endedAt })),
          )
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        await tx.deleteFrom('health_recoveries').where('org_id', '=', PLATFORM).where('started_at', '<', sql<Date>`now() - ${RECOVERIES_KEPT}::interval`).execute();
      }
    });
  }

  /** Forgets components of the platform that were stopped on purpose. */
  async removeFromPlatform(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    await this.#database.system.deleteFrom('health_components').where('org_id', '=', PLATFORM).where('name', 'in', names).execute();
  }

  /** Components of the platform, by name. */
  async listForPlatform(): Promise<StoredHealthReport[]> {
    const rows = await this.#database.system
      .selectFrom('health_components')
      .selectAll()
      .select(sql<boolean>`reported_at + make_interval(secs => stale_seconds) < now()`.as('stale'))
      .where('org_id', '=', PLATFORM)
      .orderBy('name')
      .execute();
    return rows.map((row) => ({
      name: row.name,
      kind: row.kind,
      state: row.state,
      detail: row.detail,
      dependsOn: row.depends_on,
      since: row.since,
      staleSeconds: row.stale_seconds,
      reportedAt: row.reported_at,
      stale: row.stale,
    }));
  }

  /** The platform's latest recoveries, newest first. */
  async listRecoveriesForPlatform(limit: number): Promise<Recovery[]> {
    const rows = await this.#database.system.selectFrom('health_recoveries').selectAll().where('org_id', '=', PLATFORM).orderBy('started_at', 'desc').limit(limit).execute();
    return rows.map((row) => ({ id: row.id, component: row.component, action: row.action, reason: row.reason, outcome: row.outcome, startedAt: row.started_at, endedAt: row.ended_at }));
  }
}
