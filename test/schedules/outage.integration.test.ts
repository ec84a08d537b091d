import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createScheduleActivities } from '../../activities/schedules/index.ts';
import { endProcess } from '../../deploy/local/child-process.ts';
import { startTemporal, type RunningTemporal } from '../../deploy/local/temporal.ts';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { ScheduleStore, type ScheduleFiring } from '../../database/schedules.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { generateKey, hashSecret } from '../../platform/identity/key-format.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { ScheduleFirer } from '../../platform/schedules/firing.ts';
import { Schedules } from '../../platform/schedules/schedules.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { connectTemporalClient, type TemporalClient } from '../../platform/temporal/connect.ts';
import { scheduleDraftSchema } from '../../schemas/schedules/definition.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

const logger = pino({ level: 'silent' });
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
const dataConverter = createDataConverter(keys);
/** The least catch-up window there is. */
const WINDOW_MS = 10_000;

/** A worker, and a Temporal server on a file of its own: each goes over firings of two schedules and comes back. */
describe('a schedule over an outage', () => {
  let folder: string;
  let test: TestDatabase;
  let port: number;
  let server: RunningTemporal | undefined;
  let native: NativeConnection;
  let temporal: TemporalClient;
  let operations: Operations;
  let workflowBundle: WorkflowBundleWithSourceMap;
  let stopWorker: () => Promise<void> = () => Promise.resolve();
  let schedules: Schedules;
  let caller: Caller;
  /** May come an hour late, and is due every two seconds by cron. */
  let patient: string;
  /** May come ten seconds late, and is due every second by interval. */
  let hasty: string;

  const startServer = async (): Promise<void> => {
    server = await startTemporal({ executable: await resolveTool(temporalTool(), { env: process.env, progress: () => undefined }), port, folder });
  };
  const startWorker = async (): Promise<void> => {
    const firer = new ScheduleFirer({ database: test.database, operations, lanes: new LaneChooser(4), logger });
    const worker = await Worker.create({ connection: native, taskQueue: 'core', workflowBundle, dataConverter, activities: { ...createScheduleActivities(firer, operations) } });
    const serving = worker.run();
    stopWorker = () => {
      worker.shutdown();
      return serving;
    };
  };
  const firings = async (id: string): Promise<ScheduleFiring[]> => (await new ScheduleStore(test.database).firings(caller.orgId, id, 1000)).sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime());
  const fired = async (id: string, after: number) => expect.poll(async () => (await firings(id)).filter(({ dueAt, state }) => state === 'done' && dueAt.getTime() > after).length).toBeGreaterThan(2);
  /** Times that nothing was heard of since then, as [the one before, how many]; a time that came twice is one of fewer than none. */
  const gaps = async (id: string, stepMs: number, since: number): Promise<[number, number][]> => {
    const due = (await firings(id)).map(({ dueAt }) => dueAt.getTime()).filter((at) => at > since);
    return due.slice(1).flatMap((at, index): [number, number][] => {
      const before = due[index] ?? 0;
      return at - before === stepMs ? [] : [[before, (at - before) / stepMs - 1]];
    });
  };
  /** Those that fell due in the outage and came. */
  const late = async (id: string, down: number, up: number): Promise<number> => (await firings(id)).filter(({ dueAt, state }) => state === 'done' && dueAt.getTime() > down && dueAt.getTime() <= up).length;
  const until = async (time: number): Promise<void> => {
    while (Date.now() < time) await new Promise((resolve) => setTimeout(resolve, 100));
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-schedules-'));
    [test, port] = await Promise.all([createTestDatabase(), freePort()]);
    await startServer();
    Runtime.install({ logger: silent, telemetryOptions: { logging: { filter: { core: 'ERROR' }, forward: {} } } });
    const address = `127.0.0.1:${port}`;
    temporal = await connectTemporalClient(loadConfig({ DATABASE_URL: test.url, TEMPORAL_ADDRESS: address, HAL9_DATA: folder }), dataConverter);
    native = await NativeConnection.connect({ address });
    operations = createOperations({ client: temporal.client, database: test.database, contracts: new Map(), keys, logger });
    workflowBundle = await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, '../fixtures/schedule-workflows.ts'), logger: silent });
    await startWorker();
    schedules = new Schedules({ database: test.database, client: temporal.client, contracts: new Map(), logger });
    const orgId = await test.organisation();
    const { prefix, secret } = generateKey();
    const keyId = randomUUID();
    await new ApiKeyStore(test.database).insert({ orgId, id: keyId, name: 'owner', prefix, secretHash: hashSecret(secret), scopes: ['*'], expiresAt: null });
    caller = { orgId, actor: { kind: 'api-key', id: keyId }, scopes: ['*'], requestId: 'test', traceparent: undefined };
    const made = async (parts: Readonly<Record<string, unknown>>) => (await schedules.create(caller, scheduleDraftSchema.parse({ overlap: 'allow-all', action: { kind: 'signal', type: 'tick' }, ...parts }))).schedule.id;
    patient = await made({ name: 'patient', cron: ['*/2 * * * * * *'] });
    hasty = await made({ name: 'hasty', intervals: [{ everySeconds: 1 }], catchUpSeconds: WINDOW_MS / 1000 });
  });
  afterAll(async () => {
    await stopWorker();
    await operations.close();
    await native.close();
    await temporal.close();
    await server?.stop();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  // What was under way in that moment is tried again after a minute.
  it('of Temporal: what was due comes late, each time once; beyond the catch-up window it is counted as missed', { timeout: 300_000 }, async () => {
    await Promise.all([fired(patient, 0), fired(hasty, 0)]);
    const counted = async () => (await schedules.get(caller, hasty)).times?.missedCatchUp ?? 0;
    const before = await counted();
    const down = Date.now();
    if (server !== undefined) await endProcess(server.process, 'SIGKILL', 10_000);
    await until(down + WINDOW_MS + 4000);
    await startServer();
    const up = Date.now();
    await Promise.all([fired(patient, up), fired(hasty, up)]);

    await expect.poll(async () => late(patient, down, up)).toBeGreaterThanOrEqual(Math.floor((up - down) / 2000));
    await expect.poll(async () => gaps(patient, 2000, 0)).toEqual([]);
    expect((await schedules.get(caller, patient)).times?.missedCatchUp).toBe(0);

    // The oldest times are left out, those of the window come: one gap, as long as Temporal says.
    const missed = (await counted()) - before;
    expect(missed).toBeGreaterThanOrEqual(3);
    await expect.poll(async () => gaps(hasty, 1000, down - 2000)).toEqual([[expect.any(Number), missed]]);
  });

  it('of the workers: what Temporal fired meanwhile comes late, each time once; beyond the catch-up window it is skipped with the reason', { timeout: 300_000 }, async () => {
    await stopWorker();
    const down = Date.now();
    await until(down + WINDOW_MS + 4000);
    await startWorker();
    const up = Date.now();
    await Promise.all([fired(patient, up), fired(hasty, up)]);

    await expect.poll(async () => late(patient, down, up)).toBeGreaterThanOrEqual(Math.floor((up - down) / 2000));
    await expect.poll(async () => gaps(patient, 2000, 0)).toEqual([]);

    // None is lost from sight here.
    await expect.poll(async () => gaps(hasty, 1000, down)).toEqual([]);
    const skipped = (await firings(hasty)).filter(({ state }) => state === 'skipped');
    expect(skipped.length).toBeGreaterThanOrEqual(3);
    for (const { reason, runId, emittedKey, dueAt, createdAt } of skipped) {
      expect({ reason, runId, emittedKey }).toEqual({ reason: expect.stringMatching(/^nothing was there to act on it for \d+ s; it may come 10 s late$/), runId: null, emittedKey: null });
      expect(createdAt.getTime() - dueAt.getTime()).toBeGreaterThan(WINDOW_MS);
    }
    const done = (await firings(patient)).filter(({ state }) => state === 'done');
    const { rows } = await test.database.withOrgClient(caller.orgId, (pg) => pg.query<{ envelope: string }>('select envelope from signals'));
    const sent = new Set(rows.map(({ envelope }) => z.object({ id: z.string() }).parse(JSON.parse(envelope)).id));
    expect(skipped.filter(({ id }) => sent.has(id))).toEqual([]);
    expect(done.filter(({ id }) => !sent.has(id))).toEqual([]);
  });
});
