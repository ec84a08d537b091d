import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemCaller } from '../../platform/identity/caller.ts';
import { HAL9_ROOT } from '../../platform/operations/discovery.ts';
import { startCoreProcess, type CoreProcess } from '../workers/core-process.ts';

const execute = promisify(execFile);

/** The project that the page docs/how-to/your-own-operation.md writes, outside the repository, served by the shipped worker. */
describe('an operation of one\'s own', () => {
  let folder: string;
  let core: CoreProcess;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-own-'));
    const page = await readFile(join(HAL9_ROOT, 'docs/how-to/your-own-operation.md'), 'utf8');
    const blocks = [...page.matchAll(/^```bash\n(.*?)^```/gms)].map((match) => match[1] ?? '').filter((block) => block.includes('cat >'));
    expect(blocks).toHaveLength(3);
    await execute('bash', ['-euo', 'pipefail', '-c', blocks.join('\n')], { env: { ...process.env, TMPDIR: folder } });
    core = await startCoreProcess(join(folder, 'my-operations'));
  });
  afterAll(async () => {
    await core?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('runs as the page says', async () => {
    const caller = systemCaller(await core.test.organisation(), 'test');
    const start = (guest: string) => core.operations.start(caller, { operation: 'invite-guests', input: { guests: [guest], place: 'the library' }, origin: 'api' });
    const { runId } = await start('ada@example.org');
    await expect.poll(async () => (await core.operations.describe(caller, runId)).progress, { timeout: 20_000 }).toMatchObject({ done: 1, total: 1 });
    await core.operations.signal(caller, runId, 'answer', { guest: 'ada@example.org' });
    expect(await core.operations.result(caller, runId, 20_000)).toEqual({ status: 'completed', result: { coming: 'ada@example.org' } });
    const refused = await start('bob@example.invalid');
    expect(await core.operations.result(caller, refused.runId, 20_000)).toMatchObject({ status: 'failed', failure: { type: 'InvalidInput' } });
  });
});
