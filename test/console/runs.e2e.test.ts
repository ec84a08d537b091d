import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { launchBrowser } from '../environment/browser.ts';
import { takePictures } from '../environment/pictures.ts';

const PROJECT = join(import.meta.dirname, '../fixtures/operations-project');
/** Pages with the common head, and the title of each in it. */
const PAGES = { Runs: 'runs', Rollouts: 'rollouts', Automations: 'automations', Schedules: 'schedules', Deliveries: 'deliveries', Incidents: 'incidents', Trace: 'trace', Usage: 'usage', Audit: 'audit', Privacy: 'privacy', Compliance: 'compliance' };

/** A signal that becomes a decision that starts a run. */
const NEURONS = [
  { name: 'door', layer: 'L2', subscription: { types: ['shop.door'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'shop.guest', subject: 'signal.data.name', severity: 'info' } }] } },
  { name: 'hall', layer: 'L3', subscription: { types: ['shop.guest'] }, behaviour: { kind: 'correlator', key: 'signal.subject', member: 'signal.id', minMembers: 1, settleSeconds: 0, emit: { type: 'hal9.incident', subject: 'signal.subject', severity: 'info' } } },
  { name: 'host', layer: 'L4', subscription: { types: ['hal9.incident'], filter: 'signal.data.state == "opened"' }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"somebody came"', reason: '"<img src=x onerror=alert(1)>"', severity: 'info', operation: { type: 'greet', input: '{"name": "Kay"}' } } }] } },
];

describe('runs in the console', () => {
  let folder = '';
  let stack: Stack;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  const problems: string[] = [];

  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const response = await fetch(`${stack.url}${path}`, { method, headers: { Authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'Content-Type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  };
  const start = async (input: object, tags: string[] = []): Promise<string> => String((await call('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', ...input }, tags }))['runId']);
  const ended = (runId: string): Promise<Record<string, unknown>> => call('GET', `/v1/runs/${encodeURIComponent(runId)}/result?waitSeconds=60`);
  const open = async (path: string): Promise<void> => {
    await page.goto(`${stack.url}${path}`);
    await page.waitForSelector('body[data-drawn]');
  };
  const openRun = (runId: string): Promise<void> => open(`/console/run.html?id=${encodeURIComponent(runId)}`);
  const rows = (): Promise<number> => page.locator('table.runs tbody tr').count();
  const status = (text: string): Promise<void> => page.locator('.title .status', { hasText: text }).waitFor();
  const picture = (name: string): Promise<void> => takePictures(page, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-runs-'));
    await chmod(folder, 0o755);
    [stack, browser] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_OPERATIONS: PROJECT } }), launchBrowser()]);
    context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    page = await context.newPage();
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy|Refused to/.test(message.text())) problems.push(message.text());
    });
  });
  afterAll(async () => {
    await browser.close();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('leads from the door over signing in to the runs, and says who is here', async () => {
    await page.goto(`${stack.url}/console`);
    expect(new URL(page.url()).pathname).toBe('/console/runs.html');
    await page.locator('p.problem', { hasText: 'Sign in' }).waitFor();
    await page.click('.who a.button');
    await page.waitForURL(/\/sign-in\?returnTo=/);
    await page.locator('summary', { hasText: 'API key' }).click();
    await page.fill('[name=key]', stack.first?.apiKey ?? '');
    await page.click('form#key button');
    await page.waitForURL(`${stack.url}/console/runs.html`);
    await page.locator('.empty h2', { hasText: 'Nothing has run yet' }).waitFor();
    await page.locator('.who .name', { hasText: 'default' }).waitFor();
  });

  it('has one head on every page, which names the page one is on and can be skipped by keyboard', async () => {
    for (const [title, file] of Object.entries(PAGES)) {
      await open(`/console/${file}.html`);
      await expect(page.locator('header nav a').allTextContents(), file).resolves.toEqual(Object.keys(PAGES));
      await expect(page.textContent('header [aria-current=page]'), file).resolves.toBe(title);
    }
    await open('/account');
    await page.locator('header a[aria-current=page]', { hasText: 'Account' }).waitFor();
    await open('/console/runs.html');
    await page.keyboard.press('Tab');
    await expect(page.evaluate('document.activeElement.className')).resolves.toBe('skip');
    await page.keyboard.press('Enter');
    await expect(page.evaluate('document.activeElement.id')).resolves.toBe('content');
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await expect(page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'), `${width} wide`).resolves.toBe(0);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  it('starts a run from the schema of its operation, refuses wrong JSON, and shows what it did', async () => {
    await open('/console/runs.html');
    await page.click('#start-run');
    await page.selectOption('#start-type', 'greet');
    await page.fill('#start-name', 'Grace');
    await page.check('#start-waitFor');
    await page.click('dialog summary');
    await page.fill('#start-tags', 'nightly, eu');
    await picture('start');
    await page.click('dialog .quiet');
    await expect(page.inputValue('dialog .schema textarea.code:visible')).resolves.toBe(JSON.stringify({ name: 'Grace', waitFor: true }, null, 2));
    await page.fill('dialog .schema textarea.code:visible', '{');
    await page.click('dialog button.chief');
    await page.locator('dialog [role=alert]', { hasText: 'not JSON' }).waitFor();
    await page.fill('dialog .schema textarea.code:visible', '{"name": "", "waitFor": true}');
    await page.click('dialog button.chief');
    await page.locator('dialog [role=alert]', { hasText: '/input/name' }).waitFor();
    await page.fill('dialog .schema textarea.code:visible', '{"name": "Grace", "waitFor": true}');
    await page.click('dialog button.chief');
    await page.waitForURL(/run\.html\?id=greet~/);
    await status('running');
    await page.locator('#progress', { hasText: '0 of 2' }).waitFor();
    await expect(page.locator('.facts .chip').allTextContents()).resolves.toEqual(['nightly', 'eu']);
    await expect(page.getAttribute('#temporal', 'href')).resolves.toContain('/workflows/');
  });

  it('pauses, resumes and signals it, and follows it to its end by itself', async () => {
    await page.click('#pause');
    await status('paused');
    await page.click('#resume');
    await status('running');
    await page.click('#signal');
    await page.fill('#payload-title', 'Dr');
    await page.click('dialog button.chief');
    await status('completed');
    await page.locator('#timeline li', { hasText: 'compose' }).locator('.status', { hasText: 'completed' }).waitFor();
    await page.locator('#timeline li', { hasText: 'proceed' }).first().waitFor();
    expect(await page.locator('#contents pre').count()).toBe(0);
    await page.click('#show-payloads');
    await page.locator('#contents pre', { hasText: 'Good day, Dr Grace.' }).waitFor();
    await page.locator('#timeline li', { hasText: 'compose' }).locator('summary').click();
    await picture('run');
    expect(problems).toEqual([]);
  });

  it('says why a step is tried again, and terminates only with a reason', async () => {
    await openRun(await start({ stumble: true }, ['doorbell']));
    await page.locator('#pending', { hasText: 'failed with ExternalCallFailed: the doorbell does not ring' }).waitFor();
    await picture('pending');
    await page.click('#terminate');
    await page.click('#confirm');
    await expect(page.locator('dialog input:invalid').count()).resolves.toBe(1);
    await page.fill('dialog [name=reason]', 'wrong house');
    await page.click('#confirm');
    await status('terminated');
    await page.locator('#failure', { hasText: 'wrong house' }).waitFor();
  });

  it('shows a failed run with its cause, what a replay would repeat, and starts it again', async () => {
    const runId = await start({ fail: true }, ['eu']);
    await ended(runId);
    await openRun(runId);
    await page.locator('#failure', { hasText: 'nobody greets Ada' }).waitFor();
    const step = page.locator('#timeline li', { hasText: 'refuse' });
    await step.locator('summary').click();
    await step.locator('button.replay').click();
    await page.locator('dialog li', { hasText: 'refuse' }).waitFor();
    await picture('replay');
    await page.click('#confirm');
    await page.locator('.facts', { hasText: 'once' }).waitFor();
    await status('failed');
    await page.click('#retry');
    await page.click('#confirm');
    await page.waitForURL((url) => url.searchParams.get('id') !== runId);
    await page.locator('.facts', { hasText: 'Retry of' }).waitFor();
    await status('failed');
    expect(problems).toEqual([]);
  });

  it('filters, turns pages and shows new runs by itself', async () => {
    await Promise.all(Array.from({ length: 55 }, (_, index) => start({}, [index % 2 === 0 ? 'even' : 'odd'])));
    await open('/console/runs.html?type=greet');
    await expect.poll(rows).toBe(50);
    await page.click('#older');
    await expect.poll(rows).toBeLessThan(50);
    await page.click('.pager button >> nth=0');
    await expect.poll(rows).toBe(50);
    await page.selectOption('[name=status]', 'failed');
    await page.locator('tbody a.failure', { hasText: 'ActionRefused' }).first().waitFor();
    await page.waitForURL(/status=failed/);
    await expect(page.locator('tbody .status').allTextContents()).resolves.toEqual(['failed', 'failed']);
    await open('/console/runs.html');
    await page.fill('[name=tag]', 'live');
    await page.press('[name=tag]', 'Enter');
    await page.locator('.empty h2', { hasText: 'No run matches' }).waitFor();
    await start({}, ['live']);
    await page.locator('tbody tr', { hasText: 'completed' }).waitFor();
    expect(await rows()).toBe(1);
    await open('/console/runs.html');
    await picture('runs');
  });

  it('cancels the runs that are chosen, after saying how many', async () => {
    const waiting = await Promise.all([1, 2, 3].map(() => start({ waitFor: true }, ['many'])));
    await open('/console/runs.html?tag=many');
    await expect.poll(rows).toBe(3);
    await page.check('thead input');
    await page.locator('.bulk', { hasText: '3 runs chosen' }).waitFor();
    await picture('chosen');
    await page.click('[data-verb=cancel]');
    await page.locator('dialog h2', { hasText: 'Cancel 3 runs?' }).waitFor();
    await page.click('dialog button:not(#confirm)');
    expect((await call('GET', `/v1/runs/${encodeURIComponent(waiting[0] ?? '')}`))['status']).toBe('running');
    await page.click('[data-verb=cancel]');
    await page.click('#confirm');
    for (const runId of waiting) expect(await ended(runId)).toMatchObject({ status: 'cancelled' });
    await expect.poll(() => page.locator('tbody .status', { hasText: 'cancelled' }).count()).toBe(3);
    expect(problems).toEqual([]);
  });

  it('groups failed runs and retries a group', async () => {
    await open('/console/runs.html?view=failures');
    const group = page.locator('.groups li', { hasText: 'ActionRefused' });
    await group.locator('.count', { hasText: '2 runs' }).waitFor();
    await picture('failures');
    // The first was retried already, by the second.
    await group.locator('button', { hasText: 'Retry all' }).click();
    await page.locator('dialog h2', { hasText: 'Retry 1 run?' }).waitFor();
    await page.click('#confirm');
    await page.locator('#said', { hasText: '1 run started again' }).waitFor();
    await expect.poll(async () => (((await call('GET', '/v1/runs?type=greet&failure=ActionRefused'))['items'] ?? []) as unknown[]).length).toBe(3);
    await group.locator('a.button').click();
    await expect.poll(rows).toBe(3);
  });

  it('leads from a run that a decision started to what it was decided about', async () => {
    for (const neuron of NEURONS) await call('POST', '/v1/neurons', neuron);
    await call('POST', '/v1/signals', { specversion: '1.0', id: 'd', source: 'shop', type: 'shop.door', data: { name: 'Kay' } });
    await expect.poll(async () => {
      await open('/console/runs.html?origin=decision');
      return rows();
    }).toBe(1);
    await page.click('td.run a');
    await page.locator('#because', { hasText: 'somebody came' }).click();
    await page.locator('tbody tr', { hasText: 'somebody came' }).filter({ hasText: 'greet' }).waitFor();
    expect(problems).toEqual([]);
  });

  it('signs out from the head', async () => {
    await page.click('#sign-out');
    await page.waitForURL(`${stack.url}/sign-in`);
    await open('/console/runs.html');
    await page.locator('p.problem', { hasText: 'Sign in' }).waitFor();
    expect(problems).toEqual([]);
  });
});
