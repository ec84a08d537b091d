import { sql, type ColumnType, type Generated } from 'kysely';
import type { Database, Tx } from './database.ts';

/** PostgreSQL channel that says that a lease was given back. */
export const LEASE_CHANNEL = 'hal9_leases';

export interface ConcurrencyTables {
  concurrency_leases: {
    org_id: string; run_id: string; operation: string; key_hash: Buffer; most: number; state: 'queued' | 'held'; token: number | null; announced: Generated<boolean>;
    place: Generated<number>; queued_at: Generated<Date>; granted_at: ColumnType<Date | null, Date | null | undefined, Date | null>; hold_ms: number;
  };
}

export interface LeaseRequest {
  readonly orgId: string;
  readonly runId: string;
  readonly operation: string;
  readonly keyHash: Buffer;
  /** Runs at once. */
  readonly most: number;
  /** What happens when so many run. */
  readonly onConflict: 'queue' | 'reject' | 'cancel-running' | 'cancel-newest';
  /** Time the run may hold it, ms. */
  readonly holdMs: number;
}

export type Lease =
  /** `mine`: made by this call. */
  | { readonly state: 'held' | 'queued'; readonly mine: boolean; readonly instead: readonly string[] }
  | { readonly state: 'full' };

type Waiting = Readonly<{ orgId: string; runId: string }>;

/** Who may run at once: leases by key, and the order in which the others wait. Decisions about one key are taken one after the other. */
export class ConcurrencyLeaseStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Takes a lease, or a place in the queue, or answers that it is full. Again for the same run it answers what the run has. */
  async acquire(request: LeaseRequest): Promise<Lease> {
    const { orgId, runId, operation, keyHash, most, onConflict, holdMs } = request;
    return this.#database.withOrg(orgId, async (tx) => {
      await lock(tx, orgId, operation, keyHash);
      const rows = await tx.selectFrom('concurrency_leases').select(['run_id', 'state']).where('org_id', '=', orgId).where('operation', '=', operation).where('key_hash', '=', keyHash).orderBy('place').execute();
      const own = rows.find((row) => row.run_id === runId);
      if (own !== undefined) return { state: own.state, mine: false, instead: [] };
      const free = rows.length < most;
      if (!free && (onConflict === 'reject' || onConflict === 'cancel-newest')) return { state: 'full' };
      await tx
        .insertInto('concurrency_leases')
        .values({ org_id: orgId, run_id: runId, operation, key_hash: keyHash, most, hold_ms: holdMs, state: free ? 'held' : 'queued', ...(free ? { token: sql<number>`nextval('concurrency_tokens')`, granted_at: sql<Date>`clock_timestamp()`, announced: true } : { token: null }) })
        .execute();
      return { state: free ? 'held' : 'queued', mine: true, instead: free || onConflict === 'queue' ? [] : superseded(rows, most) };
    });
  }

  /** Gives back what a start took that came to nothing. */
  async release(orgId: string, runId: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.deleteFrom('concurrency_leases').where('org_id', '=', orgId).where('run_id', '=', runId).execute();
      await sql`select pg_notify(${LEASE_CHANNEL}, '')`.execute(tx);
    });
  }

  /** What the run has: its place in the queue is not yet a token. */
  async of(orgId: string, runId: string): Promise<{ state: 'queued' | 'held'; token: number | null } | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('concurrency_leases').select(['state', 'token']).where('org_id', '=', orgId).where('run_id', '=', runId).executeTakeFirst());
  }

  /** Gives free leases to those who wait longest. @returns how many. */
  async grantAcrossOrganisations(limit: number): Promise<number> {
    const { rows: keys } = await sql<{ org_id: string; operation: string; key_hash: Buffer }>`
      select org_id, operation, key_hash from concurrency_leases group by 1, 2, 3
      having count(*) filter (where state = 'queued') > 0 and count(*) filter (where state = 'held') < max(most) limit ${limit}`.execute(this.#database.system);
    let granted = 0;
    for (const key of keys) {
      granted += await this.#database.system.transaction().execute(async (tx) => {
        await lock(tx, key.org_id, key.operation, key.key_hash);
        const { numAffectedRows = 0n } = await sql`
          with standing as materialized (select run_id, state, most, row_number() over (order by state = 'queued', place) as position from concurrency_leases where org_id = ${key.org_id} and operation = ${key.operation} and key_hash = ${key.key_hash})
          update concurrency_leases l set state = 'held', token = nextval('concurrency_tokens'), granted_at = clock_timestamp()
          from standing s where l.org_id = ${key.org_id} and l.run_id = s.run_id and s.state = 'queued' and s.position <= s.most`.execute(tx);
        return Number(numAffectedRows);
      });
    }
    return granted;
  }

  /** Runs that were given a lease and have not been told. */
  async unannouncedAcrossOrganisations(limit: number): Promise<Waiting[]> {
    return this.#database.system.selectFrom('concurrency_leases').select(['org_id as orgId', 'run_id as runId']).where('state', '=', 'held').where('announced', '=', false).orderBy('granted_at').limit(limit).execute();
  }

  async announceAcrossOrganisations({ orgId, runId }: Waiting): Promise<void> {
    await this.#database.system.transaction().execute(async (tx) => {
      await tx.updateTable('concurrency_leases').set({ announced: true }).where('org_id', '=', orgId).where('run_id', '=', runId).execute();
      // It has begun: its credential is not asked for any more.
      await tx.deleteFrom('delayed_starts').where('org_id', '=', orgId).where('run_id', '=', runId).execute();
    });
  }

  /** Runs that had their time. */
  async overdueAcrossOrganisations(limit: number): Promise<Waiting[]> {
    const { rows } = await sql<Waiting>`select org_id as "orgId", run_id as "runId" from concurrency_leases where state = 'held' and granted_at + make_interval(secs => hold_ms / 1000.0) < now() limit ${limit}`.execute(this.#database.system);
    return rows;
  }

  /** Leases whose start never reached the read model: most likely it came to nothing. */
  async orphansAcrossOrganisations(limit: number): Promise<Waiting[]> {
    const { rows } = await sql<Waiting>`select org_id as "orgId", run_id as "runId" from concurrency_leases l where queued_at < now() - interval '1 minute' and not exists (select from runs r where r.org_id = l.org_id and r.run_id = l.run_id and (r.closed_at is null or r.closed_at < l.queued_at)) limit ${limit}`.execute(this.#database.system);
    return rows;
  }

  async removeAcrossOrganisations({ orgId, runId }: Waiting): Promise<void> {
    await this.#database.system.deleteFrom('concurrency_leases').where('org_id', '=', orgId).where('run_id', '=', runId).execute();
  }
}

/** All that wait, and so many of those that run, the oldest first, as make room for one. */
function superseded(rows: readonly { run_id: string; state: string }[], most: number): string[] {
  const running = rows.filter((row) => row.state === 'held');
  return [...rows.filter((row) => row.state === 'queued'), ...running.slice(0, Math.max(0, running.length - most + 1))].map((row) => row.run_id);
}

async function lock(tx: Tx, orgId: string, operation: string, keyHash: Buffer): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`hal9 lease ${orgId} ${operation} ${keyHash.toString('hex')}`}, 0))`.execute(tx);
}
