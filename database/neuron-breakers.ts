import { sql, type ColumnType } from 'kysely';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export interface NeuronBreakerTables {
  neuron_breakers: { org_id: string; neuron_id: string; failures: number; opened_at: MaybeTime; retry_at: MaybeTime; last_failure: string; updated_at: Timestamp };
}

/** `half-open`: its time is up and the next call is a probe, or a probe is on its way. */
export type BreakerState = 'closed' | 'open' | 'half-open';

export interface BreakerView {
  state: BreakerState;
  /** Failures in a row. */
  failures: number;
  openedAt: Date | null;
  /** When the next probe may go. */
  retryAt: Date | null;
  /** Plain words; null when the last call succeeded. */
  lastFailure: string | null;
}

/** From the neuron's definition. */
export interface BreakerRule {
  /** Failures in a row that open it. */
  failures: number;
  resetSeconds: number;
}

/** `probe`: the one call that finds out whether the other side is back; its claim lasts `probeSeconds`. */
export type Admission = 'closed' | 'probe' | 'open';

/** Circuit breakers of neurons that call out. One row a failing neuron, shared by all processes; none for a healthy one. */
export class NeuronBreakerStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Whether a call may be tried now. Of many callers at a half-open breaker exactly one gets `probe`. */
  async admit(orgId: string, neuronId: string, probeSeconds: number): Promise<Admission> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('neuron_breakers').select('opened_at').where('neuron_id', '=', neuronId).executeTakeFirst();
      if (row === undefined || row.opened_at === null) return 'closed';
      const claimed = await tx
        .updateTable('neuron_breakers')
        .set({ retry_at: sql<Date>`now() + make_interval(secs => ${probeSeconds})`, updated_at: sql<Date>`now()` })
        .where('neuron_id', '=', neuronId)
        .where('opened_at', 'is not', null)
        .where('retry_at', '<=', sql<Date>`now()`)
        .executeTakeFirst();
      return claimed.numUpdatedRows > 0n ? 'probe' : 'open';
    });
  }

  async succeed(orgId: string, neuronId: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.deleteFrom('neuron_breakers').where('neuron_id', '=', neuronId).execute());
  }

  /** Counts a failure; opens the breaker, or keeps it open for another `resetSeconds`, once there are enough in a row. */
  async fail(orgId: string, neuronId: string, rule: BreakerRule, failure: string): Promise<void> {
    const retry = sql<Date>`now() + make_interval(secs => ${rule.resetSeconds})`;
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('neuron_breakers')
        .values({ org_id: orgId, neuron_id: neuronId, failures: 1, opened_at: rule.failures <= 1 ? sql<Date>`now()` : null, retry_at: rule.failures <= 1 ? retry : null, last_failure: failure })
        .onConflict((conflict) =>
          conflict.columns(['org_id', 'neuron_id']).doUpdateSet({
            failures: sql<number>`neuron_breakers.failures + 1`,
            opened_at: sql<Date | null>`case when neuron_breakers.failures + 1 >= ${rule.failures} then coalesce(neuron_breakers.opened_at, now()) end`,
            retry_at: sql<Date | null>`case when neuron_breakers.failures + 1 >= ${rule.failures} then ${retry} end`,
            last_failure: failure,
            updated_at: sql<Date>`now()`,
          }),
        )
        .execute();
    });
  }

  /** For `GET /v1/neurons/{id}`. */
  async view(orgId: string, neuronId: string): Promise<BreakerView> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .selectFrom('neuron_breakers')
        .select(['failures', 'opened_at', 'retry_at', 'last_failure', sql<boolean>`coalesce(retry_at <= now(), false)`.as('due')])
        .where('neuron_id', '=', neuronId)
        .executeTakeFirst();
      if (row === undefined) return { state: 'closed', failures: 0, openedAt: null, retryAt: null, lastFailure: null };
      const state = row.opened_at === null ? 'closed' : row.due ? 'half-open' : 'open';
      return { state, failures: row.failures, openedAt: row.opened_at, retryAt: row.retry_at, lastFailure: row.last_failure };
    });
  }
}
