import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAILURE_CONVERTER_PATH } from '../../platform/codec/data-converter.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { discoverProjects } from '../../platform/operations/discovery.ts';
import { loadBundle } from '../../workers/bundle.ts';
import { replayRuns } from '../../workers/replay.ts';
import { PROJECT, serveProject, type ServedProject } from '../operations/project.ts';
import { loadRecords, toRun } from './load.ts';
import { HISTORIES, recordHistory } from './recorder.ts';

/** Runs real ones, records them as `npm run record:history` does, and replays them. With HAL9_RECORD_HISTORIES=true the files are kept. */
describe('recording histories', () => {
  let project: ServedProject;
  let caller: Caller;
  let folder: string;
  beforeAll(async () => {
    project = await serveProject();
    caller = systemCaller(await project.test.organisation(), 'test');
    folder = process.env['HAL9_RECORD_HISTORIES'] === 'true' ? HISTORIES : await mkdtemp(join(tmpdir(), 'hal9-histories-'));
  });
  afterAll(async () => {
    await project.close();
    if (folder !== HISTORIES) await rm(folder, { recursive: true, force: true });
  });

  it('keeps them readable, and they replay', async () => {
    const start = (input: object) => project.operations.start(caller, { operation: 'greet', input: { name: 'Ada', ...input }, origin: 'api' });
    const [done, failed, messages] = await Promise.all([start({}), start({ fail: true }), start({ waitFor: true })]);
    await project.operations.update(caller, messages.runId, 'rename', { name: 'Grace' });
    await project.operations.update(caller, messages.runId, 'hail', {});
    await project.operations.signal(caller, messages.runId, 'proceed', { title: 'Admiral' });
    for (const [name, { runId, workflowId }] of Object.entries({ done, failed, messages })) {
      await project.operations.result(caller, runId, 20_000);
      await recordHistory(project.temporal.client, project.keys, workflowId, name, folder);
    }
    expect(await readFile(join(folder, 'greet-failed.json'), 'utf8')).not.toContain('YmluYXJ5L2VuY3J5cHRlZA');
    const records = await loadRecords(folder);
    const bundle = await loadBundle(await discoverProjects([PROJECT]), join(project.config.HAL9_DATA, 'bundles'));
    expect(await replayRuns(bundle, { failureConverterPath: FAILURE_CONVERTER_PATH }, [...records.values()].filter(({ workflowId }) => workflowId.includes('/greet/')).map(toRun))).toEqual([]);
    await expect(recordHistory(project.temporal.client, project.keys, 'other', 'x', folder)).rejects.toThrow('not the workflow id');
  });
});
