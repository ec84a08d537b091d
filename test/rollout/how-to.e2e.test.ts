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
import { launchBrowser } from '../environment/browser.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { takePictures } from '../environment/pictures.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = 'docs/how-to/rollouts.md';
const execute = promisify(execFile);
const present = await hasCluster([...CONTROL_PLANE, 'kubectl']);

/** The page as a stranger would type it, against a fresh stack and a cluster. */
describe.skipIf(!present)('the how-to of rollouts', () => {
  let folder: string;
  let stack: Stack;
  let cluster: ControlPlane;
  let metrics: LocalServer;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-how-to-'));
    await chmod(folder, 0o755);
    metrics = await startHttpServer();
    cluster = await startControlPlane();
    stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }, processes: ['api', 'core', 'dispatcher'] });
  });
  afterAll(async () => {
    await stack?.stop();
    await cluster?.stop();
    await metrics?.close();
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
    expect(stdout).toContain('promoted: 1 of 1 out\nshop/web:2\n');
    expect(stdout).toMatch(/^web\/production: 1 new beside 3 old pods, 25 %$/m);
    expect(stdout).toContain('Rollout shop/web: ready');
    expect(stdout.trimEnd().endsWith('lost /spec/strategy/canary/maxSurge: maxSurge has no counterpart in HAL9')).toBe(true);
  });

  it('shows in the console what goes out, and what each verdict rests on', async () => {
    let latency = 12;
    metrics.answer = (_, response) => json(response, 200, { latency });
    const call = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
      const response = await fetch(`${stack.url}${path}`, { method: 'POST', headers: { authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
      if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
      return (await response.json()) as Record<string, unknown>;
    };
    const metric = { name: 'latency', source: { kind: 'http', url: `${metrics.url}/latency`, value: '/latency' }, judge: { kind: 'threshold', above: 100 } };
    const input = {
      services: [{ name: 'web', namespace: 'shop', service: 'web', images: { web: 'shop/web:3' } }],
      waves: [{ name: 'all', clusters: ['production'] }],
      strategy: { kind: 'canary', steps: [{ weight: 25, soakSeconds: 2 }, { weight: 50, soakSeconds: 3600 }] },
      analysis: { intervalSeconds: 1, metrics: [metric] },
    };
    const runId = String((await call('/v1/workflows/rollout/runs', { input }))['runId']);
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      // Pods get ready and metrics are looked at meanwhile.
      page.setDefaultTimeout(100_000);
      const problems: string[] = [];
      page.on('pageerror', (error) => problems.push(error.message));
      await page.goto(`${stack.url}/sign-in?returnTo=${encodeURIComponent('/console/rollouts.html')}`);
      await page.locator('summary', { hasText: 'API key' }).click();
      await page.fill('[name=key]', stack.first?.apiKey ?? '');
      await page.click('form#key button');
      await page.waitForURL(`${stack.url}/console/rollouts.html`);
      await page.locator('tbody tr', { hasText: 'promoted' }).first().waitFor();
      await page.locator(`tbody tr[data-run="${runId}"] td.run a`, { hasText: 'web' }).waitFor();
      await takePictures(page, 'rollouts');
      await page.locator(`tbody tr[data-run="${runId}"] td.run a`).click();
      await page.locator('.unit[data-unit="web/production"] figcaption strong', { hasText: '50 % to the new version' }).waitFor();
      await page.locator('tr.verdict[data-outcome=pass]', { hasText: 'canary 50 %' }).first().waitFor();
      expect(await page.locator('#abort').count()).toBe(1);
      latency = 450;
      await page.locator('.title .status', { hasText: 'rolled back' }).waitFor();
      const failed = page.locator('tr.verdict[data-outcome=fail]');
      await failed.locator('td', { hasText: '450 is above 100' }).waitFor();
      await expect(failed.locator('td:nth-child(4)').textContent()).resolves.toContain('mean 450');
      await expect(failed.locator('td:nth-child(5)').textContent()).resolves.toContain('above 100');
      await failed.locator('button').click();
      const grounds = page.locator('tr.rests:not([hidden])');
      await expect(grounds.locator('pre').textContent()).resolves.toBe(`GET ${metrics.url}/latency`);
      await expect(grounds.locator('.values').textContent()).resolves.toBe('450');
      await page.locator('.unit details summary').click();
      await page.locator('.done li', { hasText: 'taken back' }).waitFor();
      await takePictures(page, 'rollout');
      await page.locator('#verdicts .tabs a', { hasText: 'Failed' }).click();
      await page.locator('#verdicts .tabs a[aria-current]', { hasText: 'Failed' }).waitFor();
      expect(await page.locator('tr.verdict').count()).toBe(1);
      expect(problems).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
