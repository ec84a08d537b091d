import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import { startProcess, type RunningProcess } from '../environment/worker.ts';
import { callerOf, createIngest, signalOf } from '../signals/ingest-setup.ts';

describe('the dispatcher process', () => {
  let test: TestDatabase;
  let folder: string;
  let env: Record<string, string>;
  const running: RunningProcess[] = [];
  beforeAll(async () => {
    test = await createTestDatabase();
    folder = await mkdtemp(join(tmpdir(), 'hal9-dispatcher-'));
    env = {
      DATABASE_URL: test.url,
      TEMPORAL_ADDRESS: inject('temporalAddress'),
      TEMPORAL_NAMESPACE: await createTestNamespace(),
      HAL9_DATA: folder,
      HAL9_MASTER_KEYS: `test:${Buffer.alloc(32, 7).toString('base64')}`,
    };
    running.push(await startProcess('workers/dispatcher/main.ts', env), await startProcess('workers/dispatcher/main.ts', env));
  });
  afterAll(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  it('starts what comes in, beside a second one, survives the kill of one, and ends cleanly', async () => {
    const [first, second] = running;
    const { receiver, ingest } = createIngest(test);
    const send = async (count: number): Promise<string> => {
      const orgId = await test.organisation();
      await receiver.batch(callerOf(orgId), Array.from({ length: count }, (_, n) => signalOf({ source: `s${n}` })), { defaultSpecversion: false });
      return orgId;
    };
    const started = async (orgId: string): Promise<number> => {
      const rows = await test.database.withOrg(orgId, (tx) => tx.selectFrom('batches').select('signals').where('started_at', 'is not', null).execute());
      return rows.reduce((sum, row) => sum + row.signals, 0);
    };
    const one = await send(40);
    await vi.waitFor(async () => expect(await started(one)).toBe(40), { timeout: 90_000 });
    first?.child.kill('SIGKILL');
    const two = await send(40);
    await vi.waitFor(async () => expect(await started(two)).toBe(40), { timeout: 90_000 });
    const metrics = await (await fetch(`${second?.metricsUrl}/metrics`)).text();
    expect(metrics).toMatch(/^hal9_chunks_lag_seconds \d/m);
    expect(metrics).toMatch(/^hal9_batches_open \d/m);
    expect((await fetch(`${second?.metricsUrl}/readyz`)).status).toBe(200);
    await ingest.close();
    expect(await second?.stop()).toBe(0);
  });
});
