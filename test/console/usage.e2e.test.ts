import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../database/database.ts';
import { StatementStore } from '../../database/statements.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { launchBrowser } from '../environment/browser.ts';
import { takePicture } from '../environment/pictures.ts';

/** The whole stack: quotas over HTTP, statements as JSON and CSV, the page in a browser. */
describe('usage of an organisation', () => {
  let folder = '';
  let stack: Stack;
  let browser: Browser;
  let page: Page;
  let orgId = '';
  const problems: string[] = [];

  const call = (method: string, path: string, body?: unknown, accept = 'application/json'): Promise<Response> =>
    fetch(`${stack.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'Content-Type': 'application/json', Accept: accept },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const plan = async (body: unknown): Promise<void> => {
    const answer = await call('PUT', `/v1/platform/organisations/${orgId}/plan`, body);
    expect(answer.status, await answer.clone().text()).toBe(200);
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-usage-'));
    await chmod(folder, 0o755);
    [stack, browser] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0' } }), launchBrowser()]);
    orgId = stack.first?.orgId ?? '';
    page = await browser.newPage({ viewport: { width: 1200, height: 1000 } });
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => {
      // Pages ask who is there before a key is entered; that answer is no fault of theirs.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) problems.push(message.text());
    });
    const owner = new pg.Client({ connectionString: stack.databaseUrl });
    await owner.connect();
    await owner.query(
      `insert into usage_hours (org_id, meter, hour, quantity)
       select $1, m.meter, date_trunc('hour', now()) - make_interval(days => d), (m.size * (1 + abs(sin(d)) * 3))::bigint from generate_series(1, 70) d, (values ('signals', 1500), ('runs', 7), ('storage-byte-hours', 400000000)) m (meter, size)`,
      [orgId],
    );
    await owner.end();
  });
  afterAll(async () => {
    await browser.close();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('refuses what the plan does not allow, warns before, and opens up again', async () => {
    await plan({ plan: 'free', overrides: { quotas: { signals: { soft: 1, hard: null }, runs: { hard: 0 } } } });
    const send = (id: string) => call('POST', '/v1/signals', { id, source: 'test', type: 'test.metered' });
    await expect.poll(async () => (await send(crypto.randomUUID())).headers.get('hal9-quota-warning')).toMatch(/^signals; used=\d+; soft=1; hard=none/);
    const input = { incidentId: 'i', cause: 'cpu-hog', hostId: 'nobody', dryRun: true };
    const refused = await call('POST', '/v1/workflows/remediate/runs', { input });
    expect(refused.status).toBe(402);
    expect(await refused.json()).toMatchObject({ type: expect.stringContaining('QuotaExceeded'), detail: expect.stringContaining('0 runs a month') });
    await plan({ plan: 'enterprise' });
    await expect.poll(async () => (await call('POST', '/v1/workflows/remediate/runs', { input })).status).toBe(201);
  });

  it('counts what was sent to the moment', async () => {
    const before = (await (await call('GET', '/v1/usage/summary')).json()) as { meters: { meter: string; used: number }[] };
    for (let n = 0; n < 3; n++) await call('POST', '/v1/signals', { id: `counted-${n % 2}`, source: 'test', type: 'test.metered' });
    const after = (await (await call('GET', '/v1/usage/summary')).json()) as typeof before;
    const signals = (summary: typeof before): number => summary.meters.find(({ meter }) => meter === 'signals')?.used ?? 0;
    // The machine's own readings come in meanwhile.
    expect(signals(after) - signals(before)).toBeGreaterThanOrEqual(2);
    expect((await call('GET', '/v1/usage?by=hour&from=2020-01-01T00:00:00Z')).status).toBe(422);
  });

  it('closes months and gives them as JSON and CSV', async () => {
    const month = new Date(Date.now() - 40 * 86_400_000).toISOString().slice(0, 7);
    expect(await (await call('GET', `/v1/statements/${month}`)).json()).toMatchObject({ state: 'open', hash: null });
    // As the dispatcher does every five minutes.
    const database = new Database({ url: stack.databaseUrl, poolSize: 1, applicationName: 'test' });
    while ((await new StatementStore(database).closeMonthsAcrossOrganisations(10, 'enterprise')) > 0);
    await database.close();
    expect(await (await call('GET', `/v1/statements/${month}`)).json()).toMatchObject({ state: 'closed', hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const csv = await call('GET', `/v1/statements/${month}`, undefined, 'text/csv');
    expect(csv.headers.get('content-type')).toContain('text/csv');
    const lines = (await csv.text()).trimEnd().split('\r\n');
    expect(lines[0]).toBe('month,state,plan,meter,unit,quantity,soft,hard,hash');
    expect(lines).toHaveLength(7);
    expect(lines[2]).toMatch(new RegExp(`^${month},closed,\\w+,signals,signals,\\d+,`));
    expect(await (await call('GET', '/v1/statements?format=csv')).text()).toContain(`${month},closed`);
    expect((await call('GET', '/v1/statements/2026-13')).status).toBe(422);
    expect(((await (await call('GET', '/v1/platform/usage')).json()) as { items: unknown[] }).items).toContainEqual(expect.objectContaining({ organisation: orgId }));
  });

  it('draws the month, the days and the statements', async () => {
    await plan({ plan: 'free', overrides: { quotas: { 'signals': { soft: 40_000, hard: 150_000 }, 'runs': { soft: 100, hard: 10_000 } } } });
    await page.goto(`${stack.url}/console/usage.html`);
    await page.fill('input[type=password]', stack.first?.apiKey ?? '');
    await page.click('header button');
    await page.waitForSelector('figure.chart');
    expect(await page.locator('.gauge').count()).toBe(6);
    expect(await page.locator('figure.chart').count()).toBe(3);
    expect(await page.locator('figure.chart g.day').count()).toBe(90);
    expect(await page.textContent('table')).toContain('enterprise');
    await takePicture(page, 'usage');
    expect(problems).toEqual([]);
    await plan({ plan: 'enterprise' });
  });
});
