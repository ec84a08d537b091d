import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { launchBrowser } from '../environment/browser.ts';
import { takePicture } from '../environment/pictures.ts';

/** The whole stack: evidence collected by a run, consents over HTTP, the page in a browser. */
describe('compliance of an organisation', () => {
  let folder = '';
  let stack: Stack;
  let browser: Browser;
  let page: Page;

  const call = async (method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> => {
    const response = await fetch(`${stack.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-compliance-'));
    await chmod(folder, 0o755);
    [stack, browser] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' } }), launchBrowser()]);
    page = await browser.newPage({ viewport: { width: 1300, height: 1000 } });
  });
  afterAll(async () => {
    await browser.close();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('collects evidence of every control that a query shows', async () => {
    const started = await call('POST', '/v1/workflows/compliance-evidence/runs', { input: {} });
    expect(started.status).toBe(201);
    const { runId } = started.body as { runId: string };
    const result = (await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`)).body as { status: string; result: { failed: number; passed: number } };
    expect(result).toMatchObject({ status: 'completed', result: { failed: 0 } });
    const { controls } = (await call('GET', '/v1/compliance')).body as { controls: { id: string; state: string; queries: string[] }[] };
    expect(controls.filter(({ queries }) => queries.length > 0).every(({ state }) => state === 'passing')).toBe(true);
    expect(controls.filter(({ state }) => state === 'passing')).toHaveLength(result.result.passed);
    expect((await call('GET', '/v1/compliance/tenant-isolation/evidence')).body).toMatchObject({ items: [{ result: 'passed', previousHash: null }] });
    expect((await call('GET', '/v1/compliance?from=2026-01-02&to=2026-01-01')).status).toBe(422);
    const wrong = await call('POST', '/v1/workflows/compliance-evidence/runs', { input: { controls: ['nothing'] } });
    expect((await call('GET', `/v1/runs/${(wrong.body as { runId: string }).runId}/result?waitSeconds=50`)).body).toMatchObject({ status: 'failed', failure: { type: 'InvalidInput' } });
  });

  it('answers for consents', async () => {
    const consent = { subject: 'customer-17', purpose: 'newsletter', textVersion: '2026-01', source: 'signup-form' };
    expect(await call('POST', '/v1/consents/check', { subject: 'customer-17', purpose: 'newsletter' })).toMatchObject({ status: 200, body: { granted: false, record: null } });
    expect(await call('POST', '/v1/consents', { ...consent, state: 'given', proof: 'x' })).toMatchObject({ status: 201, body: { state: 'given', legalBasis: 'consent' } });
    expect(await call('POST', '/v1/consents/check', { subject: 'customer-17', purpose: 'newsletter' })).toMatchObject({ body: { granted: true } });
    await call('POST', '/v1/consents', { ...consent, state: 'withdrawn' });
    expect(await call('POST', '/v1/consents/check', { subject: 'customer-17', purpose: 'newsletter' })).toMatchObject({ body: { granted: false, record: { state: 'withdrawn' } } });
    expect(await call('POST', '/v1/consents/query', { subject: 'customer-17' })).toMatchObject({ body: { current: [{ state: 'withdrawn' }], history: [{ state: 'withdrawn' }, { state: 'given' }] } });
    expect(await call('GET', '/v1/consents/purposes')).toMatchObject({ body: { items: [{ purpose: 'newsletter', given: 0, withdrawn: 1 }] } });
    expect((await call('POST', '/v1/consents', { ...consent, state: 'given', purpose: 'No Purpose' })).status).toBe(422);
  });

  it('shows each control with its evidence, the days without, and what is left to people', async () => {
    const owner = new pg.Client({ connectionString: stack.databaseUrl });
    await owner.connect();
    await owner.query(
      `insert into control_evidence (org_id, collection, control, at, result, numbers, hash)
       select $1, gen_random_uuid(), c, now() - make_interval(days => d), case when d = 9 and c = 'access-is-reviewed' then 'failed' else 'passed' end, '{"tables": 1}', 'x'
       from generate_series(1, 80) d, unnest(array['tenant-isolation', 'access-is-reviewed', 'acts-are-recorded']) c where d not between 30 and 37`,
      [stack.first?.orgId],
    );
    await owner.end();
    await page.goto(`${stack.url}/console/compliance.html`);
    await page.fill('input[type=password]', stack.first?.apiKey ?? '');
    await page.click('header button');
    await page.waitForSelector('tr#tenant-isolation');
    expect(await page.textContent('tr#tenant-isolation')).toMatch(/passing.*CC6\.1.*A\.5\.15.*73 of 90 days/);
    expect(await page.textContent('tr#access-is-reviewed')).toContain('not always passed');
    expect(await page.locator('tr#tenant-isolation rect.gap').count()).toBe(2);
    expect(await page.locator('tr#access-is-reviewed rect.failed').count()).toBe(1);
    expect(await page.textContent('tr#encryption-at-rest')).toContain('shown by tests');
    await takePicture(page, 'compliance');
    await page.click('.choices a:text-is("GDPR")');
    await page.waitForSelector('.choices a.chosen:text-is("GDPR")');
    expect(await page.locator('tr#processing-is-complete').count()).toBe(1);
    expect(await page.locator('tr#input-is-validated').count()).toBe(0);
    expect(await page.textContent('main')).toContain('Art. 35-36 impact assessment');
  });

  it('shows requests of people: what stands in the way, the deadline, what was found where, and a link to their copy', async () => {
    const owner = new pg.Client({ connectionString: stack.databaseUrl });
    await owner.connect();
    await owner.query("create schema shop; create table shop.customer (id int primary key, email text, name text); insert into shop.customer values (1, 'ada@shop.example', 'Ada'), (2, 'bob@shop.example', 'Bob')");
    await owner.end();
    const annotations = 'source: shop\ntables:\n  shop.customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}}}\n';
    const created = async (path: string, body: unknown): Promise<string> => z.object({ id: z.string() }).parse((await call('POST', path, body)).body).id;
    await created('/v1/privacy/sources', { name: 'shop', address: `${stack.databaseUrl}?sslmode=disable`, annotations });
    const held = await created('/v1/privacy/holds', { identities: { email: ['bob@shop.example'] }, reason: 'case 7' });
    const [done, blocked] = [await created('/v1/privacy/erasures', { identities: { email: ['ada@shop.example'] }, verification: 'signed in' }), await created('/v1/privacy/erasures', { identities: { email: ['bob@shop.example'] }, verification: 'by letter' })];
    const copy = await created('/v1/privacy/exports', { identities: { email: ['bob@shop.example'] }, verification: 'by letter', recipient: { passphrase: 'correct horse battery staple' } });
    await expect.poll(async () => (await call('GET', `/v1/privacy/erasures/${done}`)).body).toMatchObject({ state: 'complete', reasons: [], hasReceipt: true });
    await expect.poll(async () => (await call('GET', `/v1/privacy/erasures/${blocked}`)).body).toMatchObject({ state: 'blocked' });
    await expect.poll(async () => (await call('GET', `/v1/privacy/exports/${copy}`)).body).toMatchObject({ state: 'ready' });
    await page.addInitScript((key) => sessionStorage.setItem('hal9-api-key', key), stack.first?.apiKey ?? '');
    await page.goto(`${stack.url}/console/privacy.html?erasure=${done}`);
    await page.waitForSelector('#receipt');
    expect(await page.textContent('#source-shop')).toMatch(/complete.*shop\.customer: 1 masked/);
    expect(await page.textContent(`#erasure-${blocked}`)).toMatch(/blocked.*30 days left.*a legal hold protects the person/);
    expect(await page.textContent(`#hold-${held}`)).toContain('case 7');
    expect(await page.getAttribute('#receipt', 'download')).toBe(`erasure-${done}.jws`);
    await page.click(`#export-${copy} button`);
    await page.waitForSelector('p[role=status] input');
    expect(await page.inputValue('p[role=status] input')).toContain('/access-exports/');
    await takePicture(page, 'privacy');
    await page.goto(`${stack.url}/console/privacy.html?erasure=${blocked}`);
    await page.waitForSelector('#detail button');
    expect(await page.textContent('#detail')).toContain('case 7');
  });
});
