import { createHmac } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { StandardWebhook } from '../../platform/webhooks/standard-webhooks.ts';
import { launchBrowser } from '../environment/browser.ts';
import { takePicture } from '../environment/pictures.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';

/** Webhook in, automation, run, webhook out: over the shipped processes, and as people see it. */
describe('triggers, from a signed webhook to a signed webhook', () => {
  let folder = '';
  let stack: Stack;
  let browser: Browser;
  let page: Page;
  let server: LocalServer;
  const problems: string[] = [];

  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const response = await fetch(`${stack.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  };
  const open = async (path: string): Promise<void> => {
    await page.goto(`${stack.url}${path}`);
    await page.waitForSelector('body[data-drawn]');
  };
  const deliver = async (url: string, secret: string, id: string, body: string): Promise<number> =>
    (await fetch(`${stack.url}${url}`, { method: 'POST', body, headers: { 'content-type': 'application/json', 'x-github-event': 'issues', 'x-github-delivery': id, 'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` } })).status;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-triggers-'));
    await chmod(folder, 0o755);
    [stack, browser, server] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' } }), launchBrowser(), startHttpServer()]);
    page = await browser.newPage({ viewport: { width: 1500, height: 760 } });
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('dialog', (dialog) => {
      problems.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    await page.goto(`${stack.url}/console/incidents.html`);
    await page.fill('input[type=password]', stack.first?.apiKey ?? '');
    await page.click('header button');
  });
  afterAll(async () => {
    await browser.close();
    await server.close();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('starts the operation that an issue asks for, and tells the endpoint of its end', async () => {
    const hook = await call('POST', '/v1/webhooks', { name: 'github', settings: { preset: 'github' } });
    const endpoint = await call('POST', '/v1/webhook-endpoints', { name: 'ops', url: `${server.url}/hal9`, events: ['run.completed'] });
    const automation = await call('POST', '/v1/automations', {
      name: 'disk-issue',
      trigger: { kind: 'webhook', hookId: hook['id'], types: ['github.issues.opened'] },
      condition: 'signal.data.issue.title.contains("disk")',
      effect: { kind: 'operation', operation: 'remediate', input: { incidentId: '"issue-" + string(int(signal.data.issue.number))', hostId: `"${stack.hostId}"`, cause: '"disk-filling"', dryRun: 'true' } },
    });
    const issue = (number: number, title: string): string => JSON.stringify({ action: 'opened', issue: { number, title }, repository: { full_name: 'octo/<b>hello</b>' } });
    const [url, secret] = [String(hook['url']), String(hook['secret'])];
    expect(await deliver(url, secret, 'd-1', issue(1, 'disk is full'))).toBe(202);
    expect(await deliver(url, secret, 'd-2', issue(2, 'colour is wrong'))).toBe(202);
    expect(await deliver(url, 'wrong', 'd-3', issue(3, 'disk'))).toBe(401);
    await expect.poll(() => server.received.length).toBe(1);
    const { headers, body } = server.received[0]!;
    expect(new StandardWebhook(String(endpoint['secret'])).verify(body, { 'webhook-id': String(headers['webhook-id']), 'webhook-timestamp': String(headers['webhook-timestamp']), 'webhook-signature': String(headers['webhook-signature']) }).valid).toBe(true);
    expect(JSON.parse(body)).toMatchObject({ type: 'run.completed', data: { operation: 'remediate', origin: 'automation', status: 'completed' } });
    expect(await call('GET', `/v1/automations/${String(automation['id'])}/firings`)).toMatchObject({ items: [{ state: 'skipped', reason: 'the condition does not hold' }, { state: 'fired', effect: { input: { incidentId: 'issue-1', dryRun: true } } }] });
  });

  it('shows automations, what one did, what it would do, and switches it', async () => {
    await open('/console/automations.html');
    await page.click('text=disk-issue');
    await page.locator('td', { hasText: 'remediate~' }).waitFor();
    await page.click('text=Dry run');
    await page.locator('#dry-run', { hasText: 'would act on 1' }).waitFor();
    await takePicture(page, 'automations');
    await page.click('text=Switch off');
    await page.locator('tr.chosen .tag', { hasText: 'off' }).waitFor();
    await page.click('text=Switch on');
    await page.locator('tr.chosen .tag', { hasText: 'on' }).waitFor();
    expect(await call('GET', '/v1/automations')).toMatchObject({ items: [{ name: 'disk-issue', enabled: true, version: 3 }] });
    expect(problems).toEqual([]);
  });

  it('shows what led to the run and what came of it, from the run itself and from the signal', async () => {
    const { items } = (await call('GET', '/v1/runs?type=remediate')) as { items: { runId: string }[] };
    const [runId = ''] = items.map((run) => run.runId);
    await open(`/console/run.html?id=${encodeURIComponent(runId)}`);
    await page.click('#trace');
    await page.waitForSelector('g.node.asked');
    const kinds = (): Promise<string[]> => page.locator('g.node text.kind:not(.took)').allTextContents();
    await expect.poll(async () => {
      await open(`/console/trace.html?run=${encodeURIComponent(runId)}`);
      return page.locator('g.message title').allTextContents();
    }).toEqual(['run.completed to ops: delivered']);
    expect(await kinds()).toEqual(expect.arrayContaining(['WEBHOOK', 'SIGNAL', 'AUTOMATION', 'RUN', 'MESSAGE']));
    await expect(page.locator('g.webhook title, g.automation title').allTextContents()).resolves.toEqual(expect.arrayContaining(['github', 'disk-issue: fired']));
    await page.click('g.message');
    await page.locator('aside', { hasText: 'delivered' }).waitFor();
    await takePicture(page, 'trace-of-a-run');
    await page.click('g.signal');
    await page.click('aside #open');
    await page.locator('h1', { hasText: 'github.issues.opened' }).waitFor();
    await page.waitForSelector('g.message');
    expect(await kinds()).toEqual(expect.arrayContaining(['SIGNAL', 'AUTOMATION', 'RUN', 'MESSAGE']));
    await page.click('g.run');
    await page.click('aside #open');
    await page.locator('h1', { hasText: 'remediate' }).waitFor();
    expect(problems).toEqual([]);
  });

  it('shows deliveries in and out, and takes or sends one once more', async () => {
    await open('/console/deliveries.html');
    await page.locator('#in tbody tr').nth(2).waitFor();
    await page.locator('#in tr', { hasText: 'the signature does not match' }).locator('button').click();
    await page.locator('#in .critical', { hasText: 'still proves nothing' }).waitFor();
    await page.locator('#in tr', { hasText: 'd-1' }).locator('button').click();
    await page.locator('#in button', { hasText: '1 so far' }).waitFor();
    await page.locator('#out tr', { hasText: 'run.completed' }).first().locator('button').click();
    await expect.poll(() => server.received.filter(({ headers }) => headers['webhook-id'] === server.received[0]?.headers['webhook-id']).length).toBe(2);
    await takePicture(page, 'deliveries');
    expect(problems).toEqual([]);
  });

  it('shows when a schedule fires, pauses it with a reason, fires it, makes up for a span, and says why it stopped', async () => {
    const made = await call('POST', '/v1/schedules', { name: 'nightly-sweep', description: 'Looks after the disks at night.', cron: ['0 3 * * *'], timeZone: 'Europe/Berlin', jitterSeconds: 60, action: { kind: 'signal', type: 'sweep.begin', data: { deep: true } } });
    await call('POST', '/v1/schedules', { name: 'every-morning', calendars: [{ hour: [7], minute: [30], dayOfWeek: [{ start: 1, end: 5 }] }], intervals: [{ everySeconds: 21_600 }], action: { kind: 'operation', operation: 'remediate', input: { incidentId: 'drill', hostId: stack.hostId, cause: 'disk-filling', dryRun: true } } });
    await open('/console/schedules.html');
    await page.locator('#schedules a', { hasText: 'nightly-sweep' }).click();
    await page.locator('aside.times li').nth(9).waitFor();
    const { times } = (await call('GET', `/v1/schedules/${String(made['id'])}`)) as { times: { next: string[] } };
    await expect(page.evaluate('[...document.querySelectorAll("aside.times time")].map((one) => one.dateTime)')).resolves.toEqual(times.next);
    await page.click('button:has-text("Trigger now")');
    await page.locator('#said', { hasText: 'It fires now' }).waitFor();
    await expect.poll(async () => ((await call('GET', `/v1/schedules/${String(made['id'])}/firings`)) as { items: { state: string }[] }).items.map(({ state }) => state)).toEqual(['done']);
    await page.locator('summary', { hasText: 'Backfill' }).click();
    await page.fill('[name=from]', '2026-01-01T00:00:00');
    await page.fill('[name=to]', '2026-01-04T00:00:00');
    await page.click('details.backfill button');
    await page.locator('#said', { hasText: 'oldest first' }).waitFor();
    await expect.poll(async () => ((await call('GET', `/v1/schedules/${String(made['id'])}/firings`)) as { items: { state: string }[] }).items.filter(({ state }) => state === 'done').length).toBe(4);
    await page.fill('[name=note]', 'until <b>Monday</b>');
    await page.click('button:has-text("Pause")');
    await page.locator('#why', { hasText: 'Paused by a person' }).waitFor();
    await page.locator('#why', { hasText: 'until <b>Monday</b>' }).waitFor();
    await page.locator('#firings tbody tr').nth(3).waitFor();
    await page.locator('tr.chosen .tag', { hasText: 'paused' }).waitFor();
    await pictures('schedules-paused');
    await page.click('button:has-text("Resume")');
    await page.locator('tr.chosen .tag', { hasText: 'on' }).waitFor();
    await page.locator('aside.times li').nth(9).waitFor();
    await pictures('schedules');
    expect(problems).toEqual([]);
  });

  /** In both colour schemes, wide and narrow; nothing sticks out. */
  async function pictures(name: string): Promise<void> {
    for (const colorScheme of ['light', 'dark'] as const) for (const width of [1500, 390]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await expect(page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'), `${String(width)} wide`).resolves.toBe(0);
      await takePicture(page, `${name}-${colorScheme}-${String(width)}`);
    }
    await page.setViewportSize({ width: 1500, height: 760 });
  }

});
