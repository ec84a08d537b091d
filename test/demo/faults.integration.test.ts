import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gatherEvidence } from '../../activities/host/evidence.ts';
import { readProcess } from '../../activities/host/process-table.ts';
import { Sessions } from '../../activities/host/sessions.ts';
import { FAULT_FILES, faultMarks, faultsOf } from '../../deploy/local/demo/fault.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { IDLE, ownProcess } from '../host/fault-process.ts';
import { testPolicy } from '../host/policy.ts';
import { confirmedRemedy } from '../../workflows/remediate/remedy.ts';

describe('the faults of the demo', () => {
  let test: TestDatabase;
  let sessions: Sessions;
  let folder: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    sessions = new Sessions(test.url);
    folder = await mkdtemp(join(tmpdir(), 'hal9-faults-'));
  });
  afterAll(async () => {
    await sessions.close();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  it('are each seen by the agent, are its to mend, and leave nothing behind', async () => {
    const worker = await ownProcess(IDLE, 'core-2-of-the-test');
    const kill = (_: string, signal: NodeJS.Signals): number => {
      process.kill(worker.reading().pid, signal);
      return worker.reading().pid;
    };
    const policy = testPolicy('', { processes: [faultMarks(folder).processes], supervised: ['core-2-of-the-test'], backends: [faultMarks(folder).sessions], temporaryFolder: folder, temporaryMark: FAULT_FILES, temporaryMinAgeSeconds: 3600 });
    for (const fault of faultsOf({ databaseUrl: test.url, kill }, folder)) {
      await fault.inject();
      expect(await fault.isGone()).toBe(false);
      await new Promise((resolve) => setTimeout(resolve, 1800));
      const remedy = confirmedRemedy(fault.cause, await gatherEvidence(policy, sessions));
      await fault.cleanUp();
      expect({ fault: fault.title, cause: remedy?.cause }).toEqual({ fault: fault.title, cause: fault.cause });
      expect(remedy?.steps.length).toBeGreaterThan(0);
    }
    expect(readProcess(worker.reading().pid)?.state).not.toBe('T');
    await worker.end();
  });
});
