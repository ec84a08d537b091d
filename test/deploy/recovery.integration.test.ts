import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { prepareCluster } from '../../deploy/local/postgres-cluster.ts';
import { Database } from '../../database/database.ts';
import { AuditSequencerStore } from '../../database/audit-sequencer.ts';
import { bootstrap } from '../../platform/identity/bootstrap.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { findPostgresPrograms, POSTGRES_PROGRAMS_MISSING } from '../environment/postgres-programs.ts';
import { startArchivedServer, type ArchivedServer } from './archived-server.ts';

const ROOT = join(import.meta.dirname, '../..');
const execute = promisify(execFile);
const programs = await findPostgresPrograms();
if (programs === undefined && process.env['CI'] !== undefined) throw new Error(POSTGRES_PROGRAMS_MISSING);
if (programs === undefined) process.stderr.write(`${POSTGRES_PROGRAMS_MISSING}\n`);

describe.skipIf(programs === undefined)('point-in-time recovery', () => {
  let archived: ArchivedServer;
  let own: Awaited<ReturnType<typeof prepareCluster>>;
  const masterKey = `a:${randomBytes(32).toString('base64')}`;

  beforeAll(async () => {
    if (programs === undefined) return;
    archived = await startArchivedServer(programs);
    // For the program and the account a server runs by.
    own = await prepareCluster(join(archived.folder, 'own'));
  }, 120_000);
  afterAll(async () => archived?.stop());

  /** Starts PostgreSQL on restored data and runs the drill against it, as one does by hand. */
  const drill = async (data: string, ...args: string[]): Promise<{ code: number; report: { passed: boolean; organisations: number; restoredThrough: string | null; rpoSeconds: number | null; rtoSeconds: number; erasures: { replayed: number; keysDestroyed: number }; checks: { name: string; passed: boolean; detail: string }[] } }> => {
    const port = await freePort();
    // A server is never run by root, who restored it here.
    if (own.account !== undefined) await execute('chown', ['-R', `${own.account.uid}:${own.account.gid}`, data, archived.backups]);
    const restored = spawnOwned(own.serverBinary, ['-D', data, '-p', String(port)], { deathSignal: 'KILL', cwd: '/', env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' }, uid: own.account?.uid, gid: own.account?.gid });
    let log = '';
    restored.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
    try {
      const settings = { DATABASE_URL: `postgres://hal9@127.0.0.1:${port}/hal9`, HAL9_MASTER_KEYS: masterKey, HAL9_DATA: join(archived.folder, 'data') };
      const ended = await execute(process.execPath, [join(ROOT, 'deploy/jobs/drill.ts'), '--seconds', '100', ...args], { env: { ...process.env, ...settings } }).then(
        ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
        (failure: { code: number; stdout: string; stderr: string }) => failure,
      );
      if (ended.stdout === '') throw new Error(`${ended.stderr}\n${log}`);
      return { code: ended.code, report: JSON.parse(ended.stdout.trim().split('\n').at(-1) ?? '') as Awaited<ReturnType<typeof drill>>['report'] };
    } finally {
      await endProcess(restored, 'SIGQUIT', 10_000);
    }
  };

  it('goes back to the moment before a disaster, and a drill tells a whole database from one that is not', { timeout: 240_000 }, async () => {
    const database = new Database({ url: archived.url, poolSize: 2, applicationName: 'test' });
    try {
      await bootstrap(database, 'before');
      await archived.backUp(7);
      await archived.query(`insert into organisations (org_id, name) values (gen_random_uuid(), 'after the backup')`);
      const sequencer = new AuditSequencerStore(database);
      for (const { org_id: orgId } of await archived.query<{ org_id: string }>('select org_id from organisations')) await sequencer.sequenceAcrossOrganisations(orgId);
    } finally {
      await database.close();
    }
    // A commit of the same millisecond could be either side of the moment.
    const [moment] = await archived.query<{ at: string }>(`select to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`);
    await archived.query('drop table run_events cascade');
    await archived.received();

    const restored = join(archived.folder, 'restored/moment');
    await archived.restore(restored, moment?.at ?? '', 'scratch');
    const good = await drill(restored, '--at', moment?.at ?? '');
    expect(good).toMatchObject({ code: 0, report: { passed: true, organisations: 2, erasures: { replayed: 0, keysDestroyed: 0 } } });
    // Never beyond the moment, and no further from it than the last commit before it was.
    const through = Date.parse(good.report.restoredThrough ?? '');
    expect(through).toBeLessThanOrEqual(Date.parse(moment?.at ?? ''));
    expect(good.report.rpoSeconds).toBe(Math.round((Date.parse(moment?.at ?? '') - through) / 1000));
    expect(good.report.rtoSeconds).toBeGreaterThanOrEqual(0);
    expect(good.report.checks.map(({ name }) => name)).toEqual(['schema', 'tenancy', 'organisations', 'moment', 'audit', 'erasures']);

    // To the very last there is: the disaster too. What row-level security was forced on is open here, and an entry of the audit log is forged.
    await archived.query('alter table connections no force row level security; alter table audit_entries disable trigger all');
    await archived.query(`update audit_entries set action = 'organisation.forged'`);
    await archived.received();
    const last = join(archived.folder, 'restored/last');
    await archived.restore(last, '', 'scratch');
    const bad = await drill(last);
    expect(bad).toMatchObject({ code: 1, report: { passed: false } });
    expect(bad.report.checks.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual(['tenancy', 'audit']);
  });

  it('keeps the newest base backups with the WAL they need, and never one that was cut off', { timeout: 240_000 }, async () => {
    const [newest = 'none'] = await readdir(join(archived.backups, 'base'));
    await cp(join(archived.backups, 'base', newest), join(archived.backups, 'base/20200101T000000Z'), { recursive: true });
    await mkdir(join(archived.backups, 'base/20990101T000000Z.draft'));
    await writeFile(join(archived.backups, 'wal/000000010000000000000000'), '');
    await archived.backUp(2);
    const kept = await readdir(join(archived.backups, 'base'));
    expect(kept).toHaveLength(2);
    expect(kept.filter((name) => name.startsWith('2020') || name.endsWith('.draft'))).toEqual([]);
    expect(await readdir(join(archived.backups, 'wal'))).not.toContain('000000010000000000000000');
  });

  it('refuses a folder with something in it, a moment before all backups, and a drill of a database that is not scratch', async () => {
    await expect(archived.restore(join(archived.folder, 'restored/moment'), '', 'scratch')).rejects.toThrow('is not empty');
    await expect(archived.restore(join(archived.folder, 'restored/early'), '2001-01-01T00:00:00Z', 'scratch')).rejects.toThrow('there is no base backup before 2001-01-01T00:00:00Z');
    const refused = execute(process.execPath, [join(ROOT, 'deploy/jobs/drill.ts')], { env: { ...process.env, DATABASE_URL: 'postgres://hal9@production.example.com/hal9' } });
    await expect(refused).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('it must name a scratch server on 127.0.0.1') as string });
  });
});
