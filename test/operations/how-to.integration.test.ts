import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { systemCaller } from '../../platform/identity/caller.ts';
import { HAL9_ROOT } from '../../platform/operations/discovery.ts';
import { resolveFromHal9 } from '../../platform/operations/project-modules.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { startCoreProcess, type CoreProcess } from '../workers/core-process.ts';

const execute = promisify(execFile);
const contractModule = z.object({ default: z.custom<OperationContract>((value) => typeof value === 'object') });

/** The project that the page docs/how-to/your-own-operation.md writes, outside the repository, served by the shipped worker. */
describe('an operation of one\'s own', () => {
  let folder: string;
  let core: CoreProcess;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-own-'));
    const page = await readFile(join(HAL9_ROOT, 'docs/how-to/your-own-operation.md'), 'utf8');
    const blocks = [...page.matchAll(/^```bash\n(.*?)^```/gms)].map((match) => match[1] ?? '').filter((block) => block.includes('cat >'));
    if (blocks.length !== 3) throw new Error('the page writes three files');
    await execute('bash', ['-euo', 'pipefail', '-c', blocks.join('\n')], { env: { ...process.env, TMPDIR: folder } });
    const project = join(folder, 'my-operations');
    // Loaded by Node itself, as the shipped processes do: vitest resolves imports its own way.
    resolveFromHal9(HAL9_ROOT);
    const loaded = contractModule.parse(createRequire(import.meta.url)(join(project, 'schemas/operations/invite-guests.ts')));
    core = await startCoreProcess(project, {}, new Map([['invite-guests', loaded.default]]));
  });
  afterAll(async () => {
    await core?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('runs as the page says', async () => {
    const caller = systemCaller(await core.test.organisation(), 'test');
    const start = (guest: string) => core.operations.start(caller, { operation: 'invite-guests', input: { guests: [guest], place: 'the library' }, origin: 'api' });
    const { runId } = await start('ada@example.org');
    await expect.poll(async () => (await core.operations.describe(caller, runId)).progress).toMatchObject({ done: 1, total: 1 });
    await core.operations.signal(caller, runId, 'answer', { guest: 'ada@example.org' });
    expect(await core.operations.result(caller, runId, 20_000)).toEqual({ status: 'completed', result: { coming: 'ada@example.org' } });
    const refused = await start('bob@example.invalid');
    expect(await core.operations.result(caller, refused.runId, 20_000)).toMatchObject({ status: 'failed', failure: { type: 'InvalidInput' } });
  });
});
