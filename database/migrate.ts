import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';

const FOLDER = join(import.meta.dirname, 'migrations');
/** Any constant: migrations of one database run one after the other. */
const LOCK = 4_240_000_009;

/**
 * Brings the schema up to date: each `NNNN-name.sql` once, in order, in a transaction of its own.
 * @param url connection string of the schema's owner; it must be able to create roles on the first run.
 * @returns names applied by this call.
 * @throws {Error} when a migration that was applied has been edited since.
 */
export async function migrate(url: string, options: { ssl?: pg.ClientConfig['ssl'] } = {}): Promise<string[]> {
  const client = new pg.Client({ connectionString: url, ssl: options.ssl, connectionTimeoutMillis: 10_000, application_name: 'hal9-migrate' });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK]);
    await client.query(await readFile(join(import.meta.dirname, 'roles.sql'), 'utf8'));
    await client.query('create table if not exists migrations (name text primary key, sha256 text not null, applied_at timestamptz not null default now())');
    const { rows } = await client.query<{ name: string; sha256: string }>('select name, sha256 from migrations');
    const applied = new Map(rows.map((row) => [row.name, row.sha256]));
    const done: string[] = [];
    for (const name of await migrationNames()) {
      const sql = await readFile(join(FOLDER, name), 'utf8');
      const sha256 = createHash('sha256').update(sql).digest('hex');
      const before = applied.get(name);
      if (before !== undefined && before !== sha256) {
        throw new Error(`migration ${name} was edited after it was applied; add a new migration instead`);
      }
      if (before !== undefined) continue;
      await client.query('begin');
      try {
        await client.query(sql);
        await client.query('insert into migrations (name, sha256) values ($1, $2)', [name, sha256]);
        await client.query('commit');
      } catch (error) {
        await client.query('rollback');
        throw new Error(`migration ${name} failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
      done.push(name);
    }
    return done;
  } finally {
    await client.end();
  }
}

/**
 * Names of migrations this version has and the database does not.
 * @param url connection string of any login that may read the table `migrations`.
 */
export async function missingMigrations(url: string, options: { ssl?: pg.ClientConfig['ssl'] } = {}): Promise<string[]> {
  const client = new pg.Client({ connectionString: url, ssl: options.ssl, connectionTimeoutMillis: 10_000, application_name: 'hal9-migrate' });
  await client.connect();
  try {
    const names = await migrationNames();
    const { rows: tables } = await client.query<{ there: boolean }>("select to_regclass('migrations') is not null as there");
    if (tables[0]?.there !== true) return names;
    const { rows } = await client.query<{ name: string }>('select name from migrations');
    const applied = new Set(rows.map(({ name }) => name));
    return names.filter((name) => !applied.has(name));
  } finally {
    await client.end();
  }
}

async function migrationNames(): Promise<string[]> {
  return (await readdir(FOLDER)).filter((file) => file.endsWith('.sql')).sort();
}
