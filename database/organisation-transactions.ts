import { AsyncLocalStorage } from 'node:async_hooks';
import { CompiledQuery, PostgresDialect, PostgresDriver, type Driver, type PostgresDialectConfig, type TransactionSettings as KyselySettings } from 'kysely';
import type pg from 'pg';

/** The organisation that the next transaction begins with; taken by the first one. */
const beginning = new AsyncLocalStorage<{ orgId: string | undefined }>();

/**
 * Runs `work`; the first transaction it begins on a pool of {@link OrganisationDialect} is scoped to the organisation.
 * @throws {TypeError} for an id that is no UUID.
 */
export function inOrganisation<T>(orgId: string, work: () => Promise<T>): Promise<T> {
  return beginning.run({ orgId: checkedUuid(orgId) }, work);
}

/** How one transaction differs from the server's own settings. */
export interface TransactionSettings {
  /** A statement may run for so long, milliseconds. */
  readonly statementMs?: number;
  /** And wait for a lock for so long, milliseconds. */
  readonly lockMs?: number;
  /** `later`: the commit does not wait for the disk. For what nobody is told of before a later commit that does, which takes it along. */
  readonly durable?: 'later';
}

/** Begins a transaction scoped to the organisation on a bare client, in one round trip. The caller ends it. */
export async function beginInOrganisation(client: pg.PoolClient, orgId: string, { statementMs, lockMs, durable }: TransactionSettings = {}): Promise<void> {
  const begin = scopedBegin('begin', checkedUuid(orgId));
  const waitsForDisk = durable === 'later' ? '; set local synchronous_commit = off' : '';
  await client.query(`${begin}${localSetting('statement_timeout', statementMs)}${localSetting('lock_timeout', lockMs)}${waitsForDisk}`);
}

function localSetting(name: string, ms: number | undefined): string {
  return ms === undefined ? '' : `; set local ${name} = ${Math.trunc(ms)}`;
}

/** PostgreSQL with transactions that get their organisation in the round trip that begins them. */
export class OrganisationDialect extends PostgresDialect {
  readonly #config: PostgresDialectConfig;

  constructor(config: PostgresDialectConfig) {
    super(config);
    this.#config = config;
  }

  override createDriver(): Driver {
    return new OrganisationDriver(this.#config);
  }
}

type Connection = Parameters<PostgresDriver['rollbackTransaction']>[0];

class OrganisationDriver extends PostgresDriver {
  override async beginTransaction(connection: Connection, settings: KyselySettings): Promise<void> {
    const next = beginning.getStore();
    const orgId = next?.orgId;
    if (next === undefined || orgId === undefined) {
      await super.beginTransaction(connection, settings);
      return;
    }
    // What begins inside this transaction's work has an organisation of its own, or none.
    next.orgId = undefined;
    const { isolationLevel, accessMode } = settings;
    const begin = ['begin', ...(isolationLevel === undefined ? [] : [`isolation level ${isolationLevel}`]), ...(accessMode === undefined ? [] : [accessMode])].join(' ');
    try {
      await connection.executeQuery(CompiledQuery.raw(scopedBegin(begin, orgId)));
    } catch (error) {
      // Kysely takes a begin that fails for one that did not happen; here the first half may have.
      await this.rollbackTransaction(connection).catch(() => undefined); // marks the connection to be thrown away
      throw error;
    }
  }
}

/** A simple query takes no parameters, hence the check of the id. `set local` ends with the transaction, safe behind PgBouncer. */
function scopedBegin(begin: string, orgId: string): string {
  return `${begin}; set local hal9.org = '${orgId}'`;
}

function checkedUuid(value: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)) throw new TypeError('not a UUID');
  return value;
}
