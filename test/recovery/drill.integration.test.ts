import { randomBytes, randomUUID } from 'node:crypto';
import { open, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createRecoveryActivities } from '../../activities/recovery/worker-activities.ts';
import { Scratch } from '../../activities/recovery/scratch.ts';
import { AuditSequencerStore } from '../../database/audit-sequencer.ts';
import { Database } from '../../database/database.ts';
import { ErasureReplayStore } from '../../database/erasure-replays.ts';
import { actOf } from '../../platform/audit/act.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { bootstrap } from '../../platform/identity/bootstrap.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import contract, { drillResultSchema, type DrillInput, type DrillResult } from '../../schemas/operations/drill.ts';
import { startArchivedServer, type ArchivedServer } from '../deploy/archived-server.ts';
import { findPostgresPrograms, POSTGRES_PROGRAMS_MISSING } from '../environment/postgres-programs.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import { startProcess, type RunningProcess } from '../environment/worker.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

const programs = await findPostgresPrograms();
if (programs === undefined && process.env['CI'] !== undefined) throw new Error(POSTGRES_PROGRAMS_MISSING);
if (programs === undefined) process.stderr.write(`${POSTGRES_PROGRAMS_MISSING}\n`);

const WAIT_MS = 180_000;

describe.skipIf(programs === undefined)('the operation drill', () => {
  let archived: ArchivedServer;
  let env: Record<string, string>;
  let keys: KeyRing;
  let live: Database;
  let operations: Operations;
  let caller: Caller;
  let recovery: RunningProcess;
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    if (programs === undefined) return;
    archived = await startArchivedServer(programs);
    closing.push(() => archived.stop());
    const [namespace, address] = [await createTestNamespace(), inject('temporalAddress')];
    env = { DATABASE_URL: archived.url, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace, HAL9_DATA: join(archived.folder, 'data'), HAL9_BACKUPS: archived.backups, HAL9_MASTER_KEYS: `a:${randomBytes(32).toString('base64')}`, HAL9_METRICS_PORT: '0' };
    const config = loadConfig(env);
    keys = await loadKeyRing(config);
    live = new Database({ url: archived.url, poolSize: 4, applicationName: 'test' });
    closing.push(() => live.close());
    const first = await bootstrap(live, 'drilled');
    caller = systemCaller(first?.orgId ?? '', 'test');
    const dataConverter = createDataConverter(keys, new SubjectKeys({ database: live, keys }));
    const [connection, clientConnection] = [await NativeConnection.connect({ address }), await Connection.connect({ address })];
    closing.push(() => Promise.all([clientConnection.close(), connection.close()]));
    operations = createOperations({ client: new Client({ connection: clientConnection, namespace, dataConverter }), database: live, contracts: new Map([[contract.name, contract]]), keys, logger: pino({ level: 'silent' }) });
    closing.push(() => operations.close());
    const worker = await Worker.create({ connection, namespace, taskQueue: TASK_QUEUES.core, dataConverter, workflowsPath: join(import.meta.dirname, '../../workflows/drill/index.ts'), shutdownForceTime: '5 seconds' });
    const running = worker.run();
    closing.push(async () => {
      worker.shutdown();
      await running;
    });
    recovery = await startProcess('workers/recovery/main.ts', env);
    closing.push(() => recovery.stop());
  }, 180_000);
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  }, 60_000);

  const start = async (input: DrillInput = {}): Promise<string> => (await operations.start(caller, { operation: 'drill', input, origin: 'api' })).runId;
  const report = async (runId: string): Promise<DrillResult> => {
    const ended = await operations.result(caller, runId, WAIT_MS);
    expect(ended).toMatchObject({ status: 'completed' });
    return drillResultSchema.parse('result' in ended ? ended.result : undefined);
  };
  const failedChecks = ({ checks }: DrillResult): string[] => checks.filter(({ passed }) => !passed).map(({ name }) => name);
  const scratch = (): Promise<string[]> => readdir(join(env['HAL9_DATA'] ?? '', 'recovery')).then((names) => names.filter((name) => name !== 'location'));
  const now = async (): Promise<string> => (await archived.query<{ at: string }>(`select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`))[0]?.at ?? '';
  const sequenced = (): Promise<unknown> => new AuditSequencerStore(live).sequenceAcrossOrganisations(caller.orgId);

  it('restores to a moment, erases again whom that brings back, and tells what is missing', { timeout: 600_000 }, async () => {
    const subjectKeys = new SubjectKeys({ database: live, keys });
    const subjects = subjectHashes(keys, caller.orgId, { email: ['ada@example.net'] });
    const [subject] = subjects;
    if (subject === undefined) throw new Error('one identity has one hash');
    await subjectKeys.keyOf(caller.orgId, subject);
    await archived.query(`update api_keys set created_at = now() - interval '1 hour'`);
    await archived.backUp(7);
    await sequenced();
    const at = await now();
    // The person is erased after that moment, which neither the restored ledger nor the restored keys know.
    const erasureId = randomUUID();
    const finishedAt = new Date().toISOString();
    const statement = { v: 1 as const, left: 0 as const, orgId: caller.orgId, erasureId, subjects: subjects.map((hash) => hash.toString('hex')), requestedAt: finishedAt, finishedAt, kept: [], tables: [] };
    await new ErasureReplayStore(live).restore(statement, 'receipt', actOf(caller, 'erasure.restore', { kind: 'erasure', id: erasureId }));
    expect(await subjectKeys.destroy(caller.orgId, subjects)).toBe(1);
    await sequenced();
    await archived.received();

    const good = await report(await start({ at }));
    expect(failedChecks(good)).toEqual([]);
    expect(good).toMatchObject({ passed: true, backup: { name: (await archived.bases())[0] }, organisations: 1, erasures: { replayed: 1, keysDestroyed: 1 }, attempts: 1 });
    expect(good.checks.map(({ name }) => name).toSorted()).toEqual(['audit', 'erasures', 'history', 'moment', 'organisations', 'rows', 'schema', 'tenancy']);
    expect(Date.parse(good.restoredThrough ?? '')).toBeLessThanOrEqual(Date.parse(at));
    expect(good.rpoSeconds).toBe(Math.round((Date.parse(at) - Date.parse(good.restoredThrough ?? '')) / 1000));
    // The administrator's key was counted.
    expect(good.checks.find(({ name }) => name === 'rows')?.detail).toMatch(/^all 1 rows /);
    expect(JSON.stringify(good)).not.toContain('example.net');
    // To the last there is the ledger knows by itself, and its keys are gone.
    expect(await report(await start())).toMatchObject({ passed: true, erasures: { replayed: 1, keysDestroyed: 0 } });
    expect(await scratch()).toEqual([]);

    // A row that the live database says it had then.
    await archived.query(`insert into api_keys (org_id, id, name, prefix, secret_hash, scopes, created_at) select org_id, gen_random_uuid(), 'lost', 'lost', secret_hash, scopes, created_at from api_keys limit 1`);
    const lost = await report(await start({ at }));
    expect(failedChecks(lost)).toEqual(['rows']);
    expect(lost).toMatchObject({ passed: false });
    expect(lost.checks.find(({ name }) => name === 'rows')?.detail).toContain('api_keys has 1 of 2 rows');
    await archived.query(`delete from api_keys where name = 'lost'`);
  });

  it('goes on when its worker is killed, and removes what it left', { timeout: 600_000 }, async () => {
    const runId = await start();
    const drafts = async (): Promise<string[]> => {
      const [folder] = await scratch();
      return folder === undefined ? [] : readdir(join(env['HAL9_DATA'] ?? '', 'recovery', folder)).catch(() => []);
    };
    await expect.poll(drafts, { interval: 5 }).toEqual(expect.arrayContaining([expect.stringMatching(/^(draft-|data$)/)]));
    recovery.child.kill('SIGKILL');
    // The one that goes on has a PostgreSQL from elsewhere, as in the image for drills.
    recovery = await startProcess('workers/recovery/main.ts', { ...env, HAL9_POSTGRES_BIN: programs?.folder ?? '' });
    expect(await report(runId)).toMatchObject({ passed: true });
    expect(await scratch()).toEqual([]);
  });

  it('removes the scratch database when it is cancelled', { timeout: 300_000 }, async () => {
    const runId = await start();
    await expect.poll(scratch, { interval: 5 }).toHaveLength(1);
    await operations.cancel(caller, runId);
    expect(await operations.result(caller, runId, WAIT_MS)).toMatchObject({ status: 'cancelled' });
    expect(await scratch()).toEqual([]);
  });

  it('refuses a damaged backup, a hole in the WAL, a moment that is not reached, and what is not there', { timeout: 600_000 }, async () => {
    const failure = async (input: DrillInput = {}): Promise<unknown> => operations.result(caller, await start(input), WAIT_MS);
    const [name = ''] = await archived.bases();
    const base = join(archived.backups, 'base', name);
    const flip = async (): Promise<void> => {
      const file = await open(join(base, 'global/pg_control'), 'r+');
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 100);
      await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, 100);
      await file.close();
    };
    await flip();
    expect(await failure()).toMatchObject({ status: 'failed', failure: { type: 'BackupDamaged', message: expect.stringContaining('global/pg_control is not as it was written') as string } });
    await flip();
    await rename(join(base, 'PG_VERSION'), join(base, 'elsewhere'));
    expect(await failure()).toMatchObject({ failure: { type: 'BackupDamaged', message: expect.stringContaining('PG_VERSION is missing') as string } });
    await rename(join(base, 'elsewhere'), join(base, 'PG_VERSION'));

    await archived.query('select pg_switch_wal()');
    await archived.query('create table filler (a int); drop table filler');
    await archived.received();
    const [segment = ''] = (await readdir(join(archived.backups, 'wal'))).filter((file) => /^[0-9A-F]{24}$/.test(file)).toSorted().slice(-1);
    expect((await stat(join(archived.backups, 'wal', segment))).size).toBeGreaterThan(0);
    await rename(join(archived.backups, 'wal', segment), join(archived.folder, segment));
    expect(await failure()).toMatchObject({ failure: { type: 'BackupDamaged', message: expect.stringContaining(`WAL ${segment} is missing`) as string } });
    await rename(join(archived.folder, segment), join(archived.backups, 'wal', segment));

    expect(await failure({ at: '2999-01-01T00:00:00Z' })).toMatchObject({ failure: { type: 'InvalidInput' } });
    expect(await failure({ at: '2001-01-01T00:00:00Z' })).toMatchObject({ failure: { type: 'NoBackup' } });
    expect(await failure({ backup: '20010101T000000Z' })).toMatchObject({ failure: { type: 'NoBackup' } });
    expect(await scratch()).toEqual([]);
  });

  it('obeys one organisation where there are several, and none without backups', { timeout: 300_000 }, async () => {
    const other = randomUUID();
    await archived.query(`insert into organisations (org_id, name) values ('${other}', 'other')`);
    const { runId } = await operations.start(systemCaller(other, 'test'), { operation: 'drill', input: {}, origin: 'api' });
    expect(await operations.result(systemCaller(other, 'test'), runId, WAIT_MS)).toMatchObject({ status: 'failed', failure: { type: 'Forbidden' } });
    const server = { root: archived.folder, major: '18', walCopies: 0, layOut: () => Promise.reject(new Error('not reached')), serve: () => Promise.reject(new Error('not reached')), forget: () => Promise.resolve() };
    const activities = createRecoveryActivities({ config: { HAL9_BACKUPS: undefined, HAL9_RECOVERY_ORG: undefined }, database: live, keys, server, scratch: new Scratch(server), queue: 'recovery-none' });
    await expect(activities.claimRecovery()).rejects.toMatchObject({ type: 'NoBackup' });
  });
});
