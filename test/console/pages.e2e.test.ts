import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { launchBrowser } from '../environment/browser.ts';

const NEURONS = [
  { name: 'slow', layer: 'L2', subscription: { types: ['shop.checkout'] }, behaviour: { kind: 'rules', rules: [{ when: 'signal.data.ms > 2000', emit: { type: 'shop.slow', subject: 'signal.data.region', severity: 'warning' } }] } },
  { name: 'region', layer: 'L3', subscription: { types: ['shop.slow'] }, behaviour: { kind: 'correlator', key: 'signal.subject', member: 'signal.id', minMembers: 1, settleSeconds: 0, emit: { type: 'hal9.incident', subject: 'signal.subject', severity: 'critical' } } },
  {
    name: 'owner',
    layer: 'L4',
    subscription: { types: ['hal9.incident'], filter: 'signal.data.state == "opened"' },
    behaviour: {
      kind: 'rules',
      rules: [
        {
          when: 'true',
          decide: {
            summary: '"checkout is slow in " + signal.subject',
            reason: '"<img src=x onerror=alert(1)>"',
            severity: 'critical',
            operation: { type: 'remediate', input: '{"incidentId": signal.data.incidentId, "hostId": "shop", "dryRun": true}' },
          },
        },
      ],
    },
  },
];

describe('the console in a browser', () => {
  let folder = '';
  let stack: Stack;
  let browser: Browser;
  let page: Page;
  const problems: string[] = [];

  const post = async (path: string, body: unknown): Promise<unknown> => {
    const response = await fetch(`${stack.url}${path}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return response.json();
  };
  const open = async (path: string): Promise<void> => {
    await page.goto(`${stack.url}${path}`);
    await page.waitForSelector('body[data-drawn]');
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-console-'));
    await chmod(folder, 0o755);
    [stack, browser] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0' } }), launchBrowser()]);
    page = await browser.newPage({ viewport: { width: 1500, height: 560 } });
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('dialog', (dialog) => {
      problems.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    for (const neuron of NEURONS) await post('/v1/neurons', neuron);
  });
  afterAll(async () => {
    await browser.close();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('asks for a key and shows a wrong one as a sentence', async () => {
    await open('/console/incidents.html');
    await expect(page.textContent('p.problem')).resolves.toContain('API key');
    await page.fill('input[type=password]', 'hal9_wrong_key');
    await page.click('header button');
    await page.locator('p.problem', { hasText: 'credential' }).waitFor();
  });

  it('draws the way of a signal through three layers to its run, and shows the evidence of a node', async () => {
    const answer = (await post('/v1/signals?wait=true', { specversion: '1.0', id: '1', source: 'shop/eu', type: 'shop.checkout', data: { ms: 2500, region: 'eu' } })) as { signalId: string };
    await page.fill('input[type=password]', stack.first?.apiKey ?? '');
    await page.click('header button');
    await expect
      .poll(
        async () => {
          await open(`/console/trace.html?signal=${answer.signalId}`);
          return page.locator('g.node text.kind:not(.took)').allTextContents();
        })
      .toEqual(expect.arrayContaining(['SIGNAL', 'EMISSION · L2', 'EMISSION · L3', 'DECISION · L4', 'RUN']));
    await page.click('g.decision');
    await expect(page.textContent('aside pre')).resolves.toContain('onerror');
    const pictures = process.env['HAL9_TEST_PICTURES'];
    if (pictures !== undefined) {
      await mkdir(pictures, { recursive: true });
      await page.click('g.L3');
      await page.screenshot({ path: join(pictures, 'trace.png') });
    }
  });

  it('lists the incident with its decision and its run', async () => {
    await open('/console/incidents.html');
    await expect(page.textContent('tbody tr')).resolves.toMatch(/eu.*checkout is slow in eu.*remediate/);
  });

  it('ran no script from the data', () => {
    expect(problems).toEqual([]);
  });
});
