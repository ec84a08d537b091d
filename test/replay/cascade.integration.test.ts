import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAILURE_CONVERTER_PATH } from '../../platform/codec/data-converter.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { discoverProjects, HAL9_ROOT } from '../../platform/operations/discovery.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { formatWorkflowId } from '../../schemas/names/workflow-id.ts';
import { loadBundle } from '../../workers/bundle.ts';
import { replayRuns } from '../../workers/replay.ts';
import { CascadeHouse } from '../cascade/house.ts';
import { reading, THREE_LAYERS } from '../cascade/neurons.ts';
import { loadRecords, toRun } from './load.ts';
import { HISTORIES, recordHistory } from './recorder.ts';

/** No batch of any organisation. */
const NO_BATCH = '7b1f8d8e-0d7f-4a53-8a4e-7f3f0f3d2c10';

/** Runs cascades of each kind, records and replays them. With HAL9_RECORD_HISTORIES=true the files are kept; older ones stay. */
describe('recording cascades', () => {
  const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
  let house: CascadeHouse;
  let folder: string;
  beforeAll(async () => {
    house = await CascadeHouse.open();
    await house.serve();
    folder = process.env['HAL9_RECORD_HISTORIES'] === 'true' ? HISTORIES : await mkdtemp(join(tmpdir(), 'hal9-histories-'));
  });
  afterAll(async () => {
    await house.close();
    if (folder !== HISTORIES) await rm(folder, { recursive: true, force: true });
  });

  async function opened(name: string, value: number): Promise<{ orgId: string; id: string }> {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    await house.ingest(orgId, [reading(name, value)]);
    const [batch] = await house.openBatches();
    if (batch === undefined) throw new Error('no batch');
    return batch;
  }

  it('keeps a quiet one, one through three layers, one somebody waits for and one that was given up; they replay', async () => {
    for (const [name, value] of [['quiet', 1], ['three-layers', 95]] as const) {
      const run = await house.start(await opened(name, value));
      expect(await run.result()).toMatchObject({ state: 'decided' });
      await recordHistory(house.client, keys, run.workflowId, name, folder);
    }

    const waited = await opened('waiting', 95);
    const workflowId = formatWorkflowId({ orgId: waited.orgId, operation: 'cascade', uuid: waited.id });
    const startWorkflowOperation = new WithStartWorkflowOperation('cascade', { workflowId, taskQueue: TASK_QUEUES.interactive, args: [{ batchId: waited.id, interactive: true }], workflowIdConflictPolicy: 'USE_EXISTING' });
    expect(await house.client.workflow.executeUpdateWithStart('decide', { args: [{}], startWorkflowOperation })).toEqual({ state: 'decided' });
    await house.client.workflow.getHandle(workflowId).result();
    await recordHistory(house.client, keys, workflowId, 'waiting', folder);

    const lost = await house.start({ orgId: await house.test.organisation(), id: NO_BATCH });
    expect(await lost.result()).toMatchObject({ state: 'failed', failure: 'the organisation has no such batch' });
    await recordHistory(house.client, keys, lost.workflowId, 'given-up', folder);

    const records = [...(await loadRecords(folder))].filter(([name]) => name.startsWith('cascade-')).map(([, record]) => record);
    expect(records.length).toBeGreaterThanOrEqual(4);
    const bundle = await loadBundle(await discoverProjects([HAL9_ROOT]));
    expect(await replayRuns(bundle, { failureConverterPath: FAILURE_CONVERTER_PATH }, records.map(toRun))).toEqual([]);
  });
});
