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

/** A connection as its last test and its last use left it; null where there was none. */
export interface ConnectionHealth {
  name: string;
  test: { at: Date; failure: string | null } | null;
  /** The last message sent through it. */
  use: { at: Date; failure: string | null } | null;
  updatedAt: Date;
}

/** A neuron that calls out, with what its circuit breaker knows. */
export interface NeuronHealth {
  name: string;
  /** Name of the connection it calls through; null for none. */
  connection: string | null;
  /** Failures in a row; 0 when the last call succeeded. */
  failures: number;
  /** When its breaker opened; null while calls go through. */
  openedAt: Date | null;
  failedAt: Date | null;
  lastFailure: string | null;
  updatedAt: Date;
}

/** Most connections, and most neurons, that a picture of health names; those with trouble come first. */
const MOST_OF_ORGANISATION = 200;

/** Health of the platform's own components, which belong to no organisation, and of what an organisation connects. */
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

  /** Connections of one organisation, those that failed last first. */
  async connections(orgId: string): Promise<ConnectionHealth[]> {
    const { rows } = await this.#database.withOrg(orgId, (tx) =>
      sql<{ name: string; last_tested_at: Date | null; last_failure: string | null; updated_at: Date; used_at: Date | null; used: string | null; use_failure: string | null }>`
        select c.name, c.last_tested_at, c.last_failure, c.updated_at, n.updated_at as used_at, n.state as used, n.last_failure as use_failure
        from connections c
        left join lateral (
          select state, updated_at, last_failure from notifications
          where org_id = c.org_id and connection_id = c.id and state in ('delivered', 'failed')
          order by created_at desc, id desc limit 1
        ) n on true
        order by (c.state = 'failed' or n.state = 'failed') desc, c.name
        limit ${MOST_OF_ORGANISATION}`.execute(tx),
    );
    return rows.map((row) => ({
      name: row.name,
      test: row.last_tested_at === null ? null : { at: row.last_tested_at, failure: row.last_failure },
      use: row.used_at === null ? null : { at: row.used_at, failure: row.used === 'failed' ? (row.use_failure ?? 'It failed.') : null },
      updatedAt: row.updated_at,
    }));
  }

  /** Enabled neurons of one organisation that call out, those that failed last first. */
  async neurons(orgId: string): Promise<NeuronHealth[]> {
    const { rows } = await this.#database.withOrg(orgId, (tx) =>
      sql<{ name: string; connection: string | null; failures: number; opened_at: Date | null; failed_at: Date | null; last_failure: string | null; updated_at: Date }>`
        select n.name, n.draft -> 'behaviour' ->> 'connection' as connection,
          coalesce(b.failures, 0) as failures, b.opened_at, b.updated_at as failed_at, b.last_failure, n.updated_at
        from neurons n left join neuron_breakers b on b.org_id = n.org_id and b.neuron_id = n.id
        where n.enabled and n.kind in ('llm', 'http')
        order by b.failures desc nulls last, n.name
        limit ${MOST_OF_ORGANISATION}`.execute(tx),
    );
    return rows.map((row) => ({ name: row.name, connection: row.connection, failures: row.failures, openedAt: row.opened_at, failedAt: row.failed_at, lastFailure: row.last_failure, updatedAt: row.updated_at }));
  }
}
