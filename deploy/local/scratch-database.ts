import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { startPostgres } from './postgres.ts';
import { SetupError } from './setup-error.ts';
import { statementsOf, type ScriptStatement } from './sql-script.ts';

/** Longest statement of a script, milliseconds. */
const STATEMENT_MS = 60_000;
/** Roles a script may name that are not there. */
const MOST_ROLES = 100;

/** What a script says about accounts and installed extensions is not about its tables; without the rights for it, it is passed over. */
const BESIDE_THE_TABLES = /^(grant|revoke|comment\s+on|alter\s+default\s+privileges|create\s+extension|drop\s+extension|alter\s+extension|create\s+(role|user)|alter\s+(role|user|database|system)|create\s+database|drop\s+database|security\s+label|create\s+event\s+trigger|create\s+publication|create\s+subscription|create\s+foreign\s+data\s+wrapper|set\s+(session|role)|reset|vacuum|analyze|checkpoint|load|alter\s+\S+\s+\S+\s+owner)\b/i;

export interface LoadedScratch {
  readonly client: pg.Client;
  /** Statements that were passed over, with why. */
  readonly passedOver: readonly { line: number; statement: string; reason: string }[];
}

/**
 * Runs the SQL in a PostgreSQL of its own that is gone afterwards. The script's account owns its database and nothing else:
 * it reads no files, runs no programs and reaches no other database.
 * @param use gets the database as the script left it.
 * @throws {SetupError} naming the line of a statement that fails.
 */
export async function withScratchDatabase<Answer>(script: string, use: (loaded: LoadedScratch) => Promise<Answer>): Promise<Answer> {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-scratch-'));
  // The server runs as another account than root and must be able to enter.
  await chmod(folder, 0o755);
  try {
    const server = await startPostgres({ folder: join(folder, 'postgres'), port: await freePort(), settings: { fsync: 'off', full_page_writes: 'off', shared_buffers: '32MB', max_connections: '10', wal_level: 'minimal', max_wal_senders: '0' } });
    try {
      return await use(await load(server.url, [...statementsOf(script)]));
    } finally {
      await server.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Roles that a script takes for granted are made when it asks for them; it then begins anew. */
async function load(url: string, statements: readonly ScriptStatement[]): Promise<LoadedScratch> {
  const administrator = await connect(url);
  const password = randomBytes(18).toString('base64url');
  try {
    await administrator.query(`create role script login createrole password '${password}'`);
    for (let round = 0; round <= MOST_ROLES; round += 1) {
      await administrator.query('drop database if exists scratch with (force)');
      await administrator.query('create database scratch owner script');
      const own = new URL(url);
      [own.username, own.password, own.pathname] = ['script', password, '/scratch'];
      const client = await connect(own.href);
      const passedOver: { line: number; statement: string; reason: string }[] = [];
      const missing = await runAll(client, statements, passedOver);
      if (missing === undefined) return { client: await asReader(client, url), passedOver };
      await client.end();
      const role = administrator.escapeIdentifier(missing);
      await administrator.query(`create role ${role} nologin`);
      await administrator.query(`grant ${role} to script`);
    }
    throw new SetupError(`the SQL names more than ${MOST_ROLES} roles that are not there`, 'leave out its OWNER TO and GRANT statements (pg_dump --no-owner --no-privileges)');
  } finally {
    await administrator.end();
  }
}

/** A fresh session of the superuser on the loaded database: rows behind row-level security are sampled too. */
async function asReader(client: pg.Client, url: string): Promise<pg.Client> {
  await client.end();
  const scratch = new URL(url);
  scratch.pathname = '/scratch';
  const reader = await connect(scratch.href);
  // Nothing the script made is run by it: functions behind columns and views would be the superuser's.
  await reader.query("set default_transaction_read_only = on; set statement_timeout = '60s'; set search_path = pg_catalog");
  return reader;
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, statement_timeout: STATEMENT_MS });
  // The server ends while nobody asks it anything.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** @returns the name of a role that is missing. */
async function runAll(client: pg.Client, statements: readonly ScriptStatement[], passedOver: { line: number; statement: string; reason: string }[]): Promise<string | undefined> {
  for (const statement of statements) {
    const first = statement.sql.replace(/^(\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)+/, '');
    try {
      if (statement.copied === null) await client.query(first);
      else await pipeline(Readable.from([statement.copied]), client.query(copyFrom(first)));
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      const role = /^role "(.+)" does not exist$/.exec(error.message)?.[1];
      if (error.code === '42704' && role !== undefined) return role;
      if (!BESIDE_THE_TABLES.test(first) || (await inFailedTransaction(client))) {
        throw new SetupError(`the SQL cannot be loaded: line ${statement.line}: ${error.message}`, 'mend it there, or dump the schema anew with pg_dump --schema-only', { cause: error });
      }
      passedOver.push({ line: statement.line, statement: first.split('\n')[0]?.slice(0, 120) ?? '', reason: error.message });
    }
  }
  return undefined;
}

/** After a failed statement in a transaction of the script everything up to its end would be refused. */
async function inFailedTransaction(client: pg.Client): Promise<boolean> {
  return client.query('select 1').then(
    () => false,
    (error: unknown) => {
      if (error instanceof pg.DatabaseError && error.code === '25P02') return true;
      throw error;
    },
  );
}
