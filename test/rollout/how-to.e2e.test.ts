import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { CONTROL_PLANE, clusterTools } from '../cluster/tools.ts';
import { hasCluster, startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { blocksOf } from '../docs/blocks.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = 'docs/how-to/rollouts.md';
const execute = promisify(execFile);
const present = await hasCluster([...CONTROL_PLANE, 'kubectl']);

/** The page as a stranger would type it, against a fresh stack and a cluster. */
describe.skipIf(!present)('the how-to of rollouts', () => {
  let folder: string;
  let stack: Stack;
  let cluster: ControlPlane;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-how-to-'));
    await chmod(folder, 0o755);
    cluster = await startControlPlane();
    stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }, processes: ['api', 'core', 'dispatcher'] });
  });
  afterAll(async () => {
    await stack?.stop();
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('does what it says, from a plain Deployment to a canary', async () => {
    const { kubectl } = await clusterTools(['kubectl']);
    const blocks = (await blocksOf(ROOT, PAGE)).filter(({ options }) => options['covered-by'] === 'test/rollout/how-to.e2e.test.ts');
    const ready = 'kubectl --namespace shop wait deployment web --for condition=Available --timeout 60s';
    const file = join(folder, 'page.sh');
    await writeFile(file, ['set -euo pipefail', ...blocks.flatMap(({ code }, index) => (index === 0 ? [code, ready] : [code]))].join('\n'));
    const env = { HOME: folder, PATH: `${dirname(kubectl)}:${join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`, KUBECONFIG: cluster.kubeconfig, HAL9_URL: stack.url, HAL9_API_KEY: stack.first?.apiKey };
    const run = execute('bash', [file], { cwd: folder, timeout: 240_000, env });
    const { stdout } = await run.catch((failure: { stdout: string; stderr: string; message: string }) => Promise.reject(new Error(`${failure.message}\n${failure.stdout}\n${failure.stderr}`)));
    const [expected] = (await blocksOf(ROOT, PAGE)).filter(({ language }) => language === 'text');
    expect(stdout).toContain(expected?.code.trimEnd());
    expect(stdout).toContain('promoted: 1 of 1 out');
    expect(stdout.trimEnd().endsWith('shop/web:2')).toBe(true);
  });
});
