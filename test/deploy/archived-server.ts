import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { expect } from 'vitest';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { startPostgres } from '../../deploy/local/postgres.ts';
import { migrate } from '../../database/migrate.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import type { PostgresPrograms } from '../environment/postgres-programs.ts';

const RECOVERY = join(import.meta.dirname, '../../deploy/recovery');
const execute = promisify(execFile);

/** A migrated PostgreSQL whose WAL is received into a folder of backups, as the chart does it. */
export async function startArchivedServer(programs: PostgresPrograms) {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-recovery-'));
  await chmod(folder, 0o755);
  const backups = join(folder, 'backups');
  const server = await startPostgres({ folder: join(folder, 'postgres'), port: await freePort(), settings: { wal_level: 'replica' } });
  const env = { ...process.env, PATH: `${programs.folder}:${process.env['PATH'] ?? ''}`, BACKUP_URL: server.url };
  for (const name of ['backups', 'backups/wal', 'restored']) await mkdir(join(folder, name));
  await migrate(server.url);
  await execute('pg_receivewal', ['--dbname', server.url, '--slot', 'hal9', '--create-slot'], { env });
  const receiving = spawnOwned(join(programs.folder, 'pg_receivewal'), ['--dbname', server.url, '--slot', 'hal9', '--directory', join(backups, 'wal'), '--synchronous'], { deathSignal: 'KILL', env });
  const query = async <Row extends pg.QueryResultRow>(text: string): Promise<Row[]> => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  };
  return {
    folder,
    backups,
    url: server.url,
    /** With PostgreSQL's programs on its path. */
    env,
    query,
    backUp: (keep: number) => execute('sh', [join(RECOVERY, 'backup.sh'), backups, String(keep)], { env }),
    restore: (data: string, ...args: string[]) => execute('sh', [join(RECOVERY, 'restore.sh'), backups, data, ...args], { env }),
    /** Names of base backups, oldest first. */
    bases: async () => (await readdir(join(backups, 'base'))).toSorted(),
    /** Resolves when everything that was committed until now is in the folder of WAL. */
    async received(): Promise<void> {
      const [row] = await query<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn');
      await expect.poll(() => query<{ there: boolean }>(`select coalesce(bool_and(flush_lsn >= '${row?.lsn ?? ''}'), false) as there from pg_stat_replication`)).toEqual([{ there: true }]);
    },
    async stop(): Promise<void> {
      await endProcess(receiving, 'SIGKILL', 5000);
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export type ArchivedServer = Awaited<ReturnType<typeof startArchivedServer>>;
