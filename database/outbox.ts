import { sql } from 'kysely';
import type { Database } from './database.ts';

/** An effect on its way out. */
export interface OutboxEntry {
  readonly orgId: string;
  /** The decision's id. */
  readonly id: string;
  readonly kind: 'operation' | 'notification';
  readonly payload: unknown;
  /** This try included. */
  readonly attempts: number;
  /** W3C trace context of the batch that decided it. */
  readonly traceparent: string | null;
}

/** Seconds an entry is left to the process that took it; then another may try. Longer than any one try. */
const LEASE_SECONDS = 60;

/** Effects of all organisations, as hal9_system: worked off by whichever dispatcher comes first. */
export class OutboxStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Takes due entries for a try each. */
  async takeAcrossOrganisations(limit: number): Promise<OutboxEntry[]> {
    const { rows } = await sql<OutboxEntry>`
      update outbox o set attempts = attempts + 1, next_at = now() + make_interval(secs => ${LEASE_SECONDS})
      from (select org_id, id, kind from outbox where done_at is null and next_at <= now() order by next_at limit ${limit} for update skip locked) due
      where o.org_id = due.org_id and o.id = due.id and o.kind = due.kind
      returning o.org_id as "orgId", o.id, o.kind, o.payload, o.attempts,
        (select b.traceparent from decisions d join batches b on b.org_id = d.org_id and b.id = d.batch_id where d.org_id = o.org_id and d.id = o.id) as traceparent`.execute(this.#database.system);
    return rows;
  }

  /**
   * The effect has left. Once nothing of the decision waits any more and nothing of it failed, the decision is done.
   * @param runId the operation it started; the decision names it.
   */
  async done(entry: Pick<OutboxEntry, 'orgId' | 'id' | 'kind'>, runId: string | undefined): Promise<void> {
    await this.#database.withOrg(entry.orgId, async (tx) => {
      await sql`update outbox set done_at = now(), last_failure = null where org_id = ${entry.orgId} and id = ${entry.id} and kind = ${entry.kind}`.execute(tx);
      await sql`
        update decisions d set run_id = coalesce(${runId ?? null}, run_id),
          state = case when state = 'pending' and not exists (select from outbox o where o.org_id = d.org_id and o.id = d.id and o.done_at is null) then 'done' else state end
        where org_id = ${entry.orgId} and id = ${entry.id}`.execute(tx);
    });
  }

  /** The try failed, another follows. */
  async retry(entry: Pick<OutboxEntry, 'orgId' | 'id' | 'kind'>, failure: string, afterSeconds: number): Promise<void> {
    await this.#database.withOrg(entry.orgId, (tx) =>
      sql`update outbox set next_at = now() + make_interval(secs => ${afterSeconds}), last_failure = ${failure}
        where org_id = ${entry.orgId} and id = ${entry.id} and kind = ${entry.kind}`.execute(tx),
    );
  }

  /** No try can succeed: the decision failed, with the cause. */
  async fail(entry: Pick<OutboxEntry, 'orgId' | 'id' | 'kind'>, failure: string): Promise<void> {
    await this.#database.withOrg(entry.orgId, async (tx) => {
      await sql`update outbox set done_at = now(), last_failure = ${failure} where org_id = ${entry.orgId} and id = ${entry.id} and kind = ${entry.kind}`.execute(tx);
      await sql`update decisions set state = 'failed', effect_failure = ${failure} where org_id = ${entry.orgId} and id = ${entry.id} and state <> 'refused'`.execute(tx);
    });
  }
}
