import { Kysely, PostgresDialect, type Transaction } from 'kysely';
import pg from 'pg';
import { beginInOrganisation, inOrganisation, OrganisationDialect, type TransactionSettings } from './organisation-transactions.ts';
import type { Tables } from './tables.ts';

/** Reads 64-bit integers as numbers: HAL9's counters and sequences stay below 2^53. */
pg.types.setTypeParser(pg.types.builtins.INT8, (value) => Number(value));
/** Dates without a time stay text: a JavaScript Date would shift them by the time zone. */
pg.types.setTypeParser(pg.types.builtins.DATE, (value) => value);

export type Tx = Transaction<Tables>;

export interface DatabaseOptions {
  /** Owner login; each pool becomes its role by SET ROLE unless it has a login of its own. */
  url: string;
  appUrl?: string;
  systemUrl?: string;
  ssl?: pg.PoolConfig['ssl'];
  /** Connections per role. */
  poolSize: number;
  applicationName: string;
}

/** Connections for transactions of one round trip, each free again at once. */
const MOST_FLIGHTS = 4;

/**
 * The two doors to PostgreSQL. `withOrg` runs a transaction that sees one organisation only, enforced by row-level
 * security; `system` is the cross-organisation role of named background work.
 */
export class Database {
  /** What it was opened with; a worker thread opens its own by it. */
  readonly options: DatabaseOptions;
  readonly appPool: pg.Pool;
  readonly systemPool: pg.Pool;
  /** Its connections send without waiting for the answer before, and cannot COPY. */
  readonly flightPool: pg.Pool;
  readonly app: Kysely<Tables>;
  /** Cross-organisation role; only stores that say so in their name may use it. */
  readonly system: Kysely<Tables>;

  constructor(options: DatabaseOptions) {
    this.options = options;
    this.appPool = pool(options, options.appUrl, 'hal9_app');
    this.systemPool = pool(options, options.systemUrl, 'hal9_system');
    this.flightPool = pool({ ...options, poolSize: Math.min(options.poolSize, MOST_FLIGHTS) }, options.appUrl, 'hal9_app', { pipeline: true });
    this.app = new Kysely<Tables>({ dialect: new OrganisationDialect({ pool: this.appPool }) });
    this.system = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: this.systemPool }) });
  }

  /** Runs `work` in one transaction scoped to the organisation, which costs two round trips: the begin and the commit. */
  async withOrg<T>(orgId: string, work: (tx: Tx) => Promise<T>): Promise<T> {
    return inOrganisation(orgId, () => this.app.transaction().execute(work));
  }

  /** Runs `work` on a bare client inside a transaction scoped to the organisation; for COPY and hot paths. */
  async withOrgClient<T>(orgId: string, work: (client: pg.PoolClient) => Promise<T>, settings?: TransactionSettings): Promise<T> {
    const client = await this.appPool.connect();
    let broken: Error | undefined;
    try {
      await beginInOrganisation(client, orgId, settings);
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch((failure: unknown) => {
        broken = failure instanceof Error ? failure : new Error(String(failure));
      });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /**
   * Runs one statement in a transaction scoped to the organisation, in one round trip: begin, statement and commit leave together. For where
   * somebody waits.
   */
  async oneFlight<Row extends pg.QueryResultRow>(orgId: string, statement: pg.QueryConfig, settings?: TransactionSettings): Promise<Row[]> {
    const client = await this.flightPool.connect();
    const [begun, answered, ended] = await Promise.allSettled([beginInOrganisation(client, orgId, settings), client.query<Row>(statement), client.query('commit')]);
    client.release(ended.status === 'rejected');
    for (const step of [begun, answered, ended]) if (step.status === 'rejected') throw step.reason;
    return answered.status === 'fulfilled' ? answered.value.rows : [];
  }

  async close(): Promise<void> {
    await Promise.all([this.app.destroy(), this.system.destroy(), this.flightPool.end()]);
  }
}

function pool(options: DatabaseOptions, loginUrl: string | undefined, role: string, how: Pick<pg.PoolConfig, 'pipeline'> = {}): pg.Pool {
  const created = new pg.Pool({
    ...how,
    connectionString: loginUrl ?? options.url,
    ssl: options.ssl,
    max: options.poolSize,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: options.applicationName,
    options: `-c role=${role}`,
  });
  // An idle connection that breaks (server restart) is dropped by the pool; the next query opens a new one.
  created.on('error', () => undefined);
  // One that breaks between two statements of a transaction would end the process; its next statement fails and says so.
  created.on('connect', (client) => client.on('error', () => undefined));
  return created;
}
