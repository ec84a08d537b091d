import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Hal9Client } from '../../clients/typescript/index.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { chromiumPath, launchBrowser } from '../environment/browser.ts';
import { startHttpServer } from '../environment/http-server.ts';
import { takePictures } from '../environment/pictures.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { BOOKING_LOGIN, bookingFlow, startBookingSite, type BookingSite } from './sites/booking.ts';
import { PLAIN, startPaintedSite } from './sites/painted.ts';
import { playRounds } from './sites/rounds.ts';
import { chromiumsBelow, soak } from './soak.ts';

/** A browser may be the first of its machine, and the machine busy. */
const PATIENT = { timeout: 150_000 };

/** The operation `browser` as people meet it: started over REST, seen in the console, taken over by a person. */
describe('browser sessions', () => {
  let folder = '';
  let stack: Stack;
  let site: BookingSite;
  let browser: Browser;
  let page: Page;
  let key = '';
  let program = '';
  const problems: string[] = [];
  const children: ChildProcess[] = [];

  const send = (method: string, path: string, body?: unknown, as = key): Promise<Response> =>
    fetch(`${stack.url}${path}`, { method, headers: { 'Authorization': `Bearer ${as}`, 'Content-Type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const response = await send(method, path, body);
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  };
  const start = async (flow: unknown, input: object = {}): Promise<string> => String((await call('POST', '/v1/workflows/browser/runs', { input: { flow, input } }))['runId']);
  const ended = (runId: string): Promise<Record<string, unknown>> => call('GET', `/v1/runs/${encodeURIComponent(runId)}/result?waitSeconds=60`);
  const stepsOf = async (runId: string): Promise<{ session: Record<string, unknown>; items: Record<string, unknown>[] }> => (await call('GET', `/v1/runs/${encodeURIComponent(runId)}/browser-steps`)) as never;
  /** Where the middle of a field is, in a window of the size that flows have. */
  const fieldOnScreen = async (url: string, label: string): Promise<{ x: number; y: number }> => {
    const same = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await same.goto(`${url}/login`);
    const box = await same.getByLabel(label).boundingBox();
    await same.close();
    return { x: (box?.x ?? 0) + (box?.width ?? 0) / 2, y: (box?.y ?? 0) + (box?.height ?? 0) / 2 };
  };
  /** The command line, with what it says and how it ends. */
  const hal9 = (args: readonly string[]): { said: () => string; ended: Promise<number | null> } => {
    const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, '../../cli/main.ts'), ...args], { env: { ...process.env, HOME: folder, HAL9_URL: stack.url, HAL9_API_KEY: key, HAL9_CHROMIUM: program }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
    children.push(child);
    return { said: () => said, ended: new Promise((resolve) => child.once('close', resolve)) };
  };
  const picture = (name: string): Promise<void> => takePictures(page, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-browser-'));
    await chmod(folder, 0o755);
    [stack, browser, site] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }, processes: ['api', 'core', 'dispatcher', 'browser'] }), launchBrowser(), startBookingSite()]);
    key = stack.first?.apiKey ?? '';
    program = await chromiumPath();
    await call('POST', '/v1/connections?test=false', { name: 'booking', settings: { kind: 'website', origins: [site.url], ...BOOKING_LOGIN } });
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy|Refused to/.test(message.text())) problems.push(message.text());
    });
    await page.goto(`${stack.url}/console/runs.html`);
    await page.fill('input[type=password]', key);
    await page.click('header button');
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await browser.close();
    await stack.stop();
    await site.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('works through a site and shows each step with its picture', async () => {
    const runId = await start(bookingFlow(site.url), { reference: 'first' });
    await expect(ended(runId)).resolves.toMatchObject({ status: 'completed', result: { result: 'B-first', steps: 20 } });
    expect(site.bookings.get('first')).toBe(1);
    await page.goto(`${stack.url}/console/run.html?id=${encodeURIComponent(runId)}`);
    await page.click('#browser');
    await expect.poll(() => page.locator('#film li').count()).toBe(20);
    await page.locator('#film li', { hasText: 'button "Book"' }).locator('button').click();
    await page.locator('img.big[src^="data:image/jpeg"]').waitFor();
    await page.keyboard.press('ArrowDown');
    await page.locator('#step h2', { hasText: 'read' }).waitFor();
    await page.keyboard.press('ArrowUp');
    await page.locator('img.big[src^="data:image/jpeg"]').waitFor();
    await picture('browser');
    await page.locator('#words summary').click();
    await page.locator('#words pre', { hasText: 'is confirmed' }).waitFor();
    await picture('browser-words');
    await page.locator('#words summary').click();
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
    expect(download.suggestedFilename()).toMatch(/\.zip$/);
    const files = unzipSync(new Uint8Array(await readFile(await download.path())));
    expect(Buffer.from(files['steps.ndjson'] ?? []).toString('utf8').trim().split('\n')).toHaveLength(20);
    expect(Object.keys(files).filter((name) => /^pictures\/\d+\.jpg$/.test(name)).length).toBeGreaterThan(10);
    expect(Object.keys(files).filter((name) => /^snapshots\/\d+\.yaml$/.test(name)).length).toBeGreaterThan(10);
    expect(Buffer.from(files['index.html'] ?? []).toString('utf8')).toContain('button &#34;Book&#34;');
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.evidence'))).toContain(runId);
    expect(problems).toEqual([]);
  });

  it('finishes flows on sites of changing moods, keeps sessions apart, and leaves no Chromium behind', async () => {
    const client = new Hal9Client({ url: stack.url, credential: key });
    const { signal } = new AbortController();
    const said: string[] = [];
    const common = { client, abreast: 2, progress: (message: string) => void said.push(message), signal };
    const rounds = await playRounds({ ...common, runs: 4 });
    expect(rounds, said.join('\n')).toMatchObject({ runs: 4, finished: 4, failed: [] });
    expect(rounds.actions).toBeGreaterThan(40);
    const worker = stack.processes().find(({ name }) => name === 'browser')?.pid ?? 0;
    expect(await soak({ ...common, worker, sessions: 6, warmUp: 2, leftMs: 0 })).toMatchObject({ sessions: 6, right: 6 });
    await expect.poll(() => chromiumsBelow(worker)).toBe(0);
  }, 600_000);

  it('records a flow from what somebody does, and runs it from the command line', async () => {
    const file = join(folder, 'booking.yaml');
    const port = await freePort();
    const recording = hal9(['browser', 'record', `${site.url}/login`, '--out', file, '--credential', 'booking', '--headless', '--debugging-port', String(port)]);
    let seen: Browser | undefined;
    await expect.poll(async () => (seen ??= await chromium.connectOverCDP(`http://127.0.0.1:${String(port)}`).catch(() => undefined)), PATIENT).toBeDefined();
    const tabs = (): Page[] => seen?.contexts().flatMap((context) => context.pages()) ?? [];
    await expect.poll(() => tabs().some((tab) => tab.url().endsWith('/login')), PATIENT).toBe(true);
    const tab = tabs().find((each) => each.url().endsWith('/login'));
    if (tab === undefined) throw new Error('there is no page');
    const type = async (label: string, text: string): Promise<void> => {
      await tab.getByLabel(label).click();
      await tab.keyboard.type(text);
    };
    const next = (): Promise<void> => tab.getByRole('button', { name: 'Next' }).click();
    await type('User', BOOKING_LOGIN.username);
    await type('Password', BOOKING_LOGIN.password);
    await tab.keyboard.press('Enter');
    await tab.getByRole('link', { name: 'New booking' }).click();
    await type('Reference', 'recorded');
    await tab.getByLabel('Room').focus();
    await tab.keyboard.type('D');
    await next();
    await type('Nights', '3');
    await tab.getByText('Breakfast').click();
    await next();
    await type('Notes', 'Late arrival');
    await tab.getByLabel('Terms').click();
    await next();
    await tab.getByRole('button', { name: 'Book' }).click();
    await tab.getByText('is confirmed').waitFor();
    expect(site.bookings.get('recorded')).toBe(1);
    await expect.poll(() => recording.said(), PATIENT).toContain('click button "Book"');
    await tab.close();
    await expect(recording.ended).resolves.toBe(0);
    await seen?.close();
    const flow = await readFile(file, 'utf8');
    expect(flow).not.toContain(BOOKING_LOGIN.password);
    expect(recording.said()).toContain('it comes from the connection `booking`');

    const running = hal9(['browser', 'run', file, '--watch', '--limit', '120']);
    await expect(running.ended, running.said()).resolves.toBe(0);
    expect(running.said()).toContain('done click button "Book"');
    expect(running.said()).toContain(`${stack.url}/console/browser.html?id=`);
    expect(site.bookings.get('recorded')).toBe(2);
  });

  it('says which step failed and why, and keeps its picture', async () => {
    const runId = await start({ name: 'lost', stepSeconds: 2, steps: [{ do: 'navigate', url: `${site.url}/login` }, { name: 'leave', do: 'click', on: { role: 'button', name: 'Sign out' } }] });
    await expect(ended(runId)).resolves.toMatchObject({ status: 'failed', failure: { type: 'StepFailed', message: 'steps/1 (leave): there is no button "Sign out" on the page' } });
    const { session, items } = await stepsOf(runId);
    expect(session).toMatchObject({ state: 'failed', flow: 'lost' });
    expect(items.at(-1)).toMatchObject({ outcome: 'failed', hasPicture: true });
    await page.goto(`${stack.url}/console/browser.html?id=${encodeURIComponent(runId)}`);
    await page.locator('#step .problem', { hasText: 'there is no button "Sign out"' }).waitFor();
    await picture('browser-failed');
  });

  it('compares a page with its baseline, shows how they differ, and takes the new picture for right', async () => {
    const cart = await startPaintedSite();
    try {
      const flow = { name: 'cart', steps: [{ do: 'navigate', url: cart.url }, { do: 'compare', baseline: 'cart', mask: [{ testId: 'clock' }] }] };
      await expect(ended(await start(flow))).resolves.toMatchObject({ status: 'completed' });
      cart.look = { ...PLAIN, colour: '#a4161a', left: 60 };
      const runId = await start(flow);
      const message: unknown = expect.stringMatching(/^steps\/1 \(compare\): the picture "cart" differs from its baseline: \d+ of 1024000 pixels differ, 0 may$/);
      await expect(ended(runId)).resolves.toMatchObject({ status: 'failed', failure: { type: 'PictureDiffers', message } });
      const seq = String((await stepsOf(runId)).items.at(-1)?.['seq']);
      await page.goto(`${stack.url}/console/browser.html?id=${encodeURIComponent(runId)}`);
      await page.locator('#difference', { hasText: 'pixels differ' }).waitFor();
      await expect.poll(() => page.locator('#compared img[src^="data:image/png"]').count()).toBe(3);
      await picture('browser-compare');
      await page.click('#over');
      await page.locator('#compared').waitFor({ state: 'hidden' });
      await page.locator('#slider img[src^="data:image/png"]').last().waitFor();
      // Left of the slider stands the page: at 0 nothing of it is seen, and the middle of the button has the colour of the baseline.
      const middle = async (seen: string): Promise<string> => {
        await page.locator('#slider input').fill(seen);
        return String(await page.evaluate("getComputedStyle(document.querySelector('#slider .upper')).clipPath"));
      };
      expect([await middle('0'), await middle('100')]).toEqual(['inset(0px 100% 0px 0px)', 'inset(0px 0% 0px 0px)']);
      await middle('12');
      await picture('browser-compare-over');

      const step = `/v1/runs/${encodeURIComponent(runId)}/browser-steps/${seq}`;
      const reader = await call('POST', '/v1/api-keys', { name: 'no judge', scopes: ['runs:read'] }).then(({ secret, key: text }) => String(secret ?? text));
      expect((await send('POST', `${step}/accept`, undefined, reader)).status).toBe(403);
      expect((await send('GET', `${step}/compared/difference`, undefined, reader)).status).toBe(403);
      expect((await send('GET', `${step}/compared/difference`)).headers.get('content-type')).toBe('image/png');
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
      expect(Object.keys(unzipSync(new Uint8Array(await readFile(await download.path())))).filter((name) => name.startsWith('compared/'))).toHaveLength(3);

      await page.click('#accept');
      await page.locator('#step [role=status]', { hasText: 'From now on' }).waitFor();
      await expect(ended(await start(flow))).resolves.toMatchObject({ status: 'completed' });
      const accepting = hal9(['runs', 'accept-browser-picture', runId, seq]);
      await expect(accepting.ended, accepting.said()).resolves.toBe(0);
      const { items } = (await call('GET', '/v1/browser-baselines?flow=cart')) as { items: Record<string, unknown>[] };
      expect(items).toEqual([expect.objectContaining({ flow: 'cart', name: 'cart', viewport: '1280x800@1', accepted: true, runId })]);
      const address = `/v1/browser-baselines/${String(items[0]?.['id'])}`;
      expect((await send('GET', `${address}/picture`)).headers.get('content-type')).toBe('image/png');
      expect((await send('DELETE', address, undefined, reader)).status).toBe(403);
      expect((await send('DELETE', address)).status).toBe(204);
      expect((await send('GET', `${address}/picture`)).status).toBe(404);
      for (const action of ['browser.baseline', 'browser.baseline-delete']) await expect.poll(async () => JSON.stringify(await call('GET', `/v1/audit/entries?action=${action}`))).toContain(String(items[0]?.['id']));
      expect(problems).toEqual([]);
    } finally {
      await cart.close();
    }
  }, 300_000);

  it('keeps the files that a step uploaded and downloaded, for who may decrypt', async () => {
    const desk = await startHttpServer((request, response) => {
      if (request.path === '/report') response.setHeader('Content-Type', 'text/csv').setHeader('Content-Disposition', 'attachment; filename="report (1).csv"').end('a,b\n1,2\n');
      else response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Desk</title><input type="file" aria-label="Letter"><a href="/report">Report</a>');
    });
    try {
      const flow = { name: 'desk', steps: [{ do: 'navigate', url: desk.url }, { do: 'upload', into: { label: 'Letter' }, files: [{ name: 'letter.txt', content: 'Dear {{ input.who }}' }] }, { do: 'download', on: { role: 'link' }, as: 'report' }], result: 'vars.report.name' };
      const runId = await start(flow, { who: 'Ada' });
      await expect(ended(runId)).resolves.toMatchObject({ status: 'completed', result: { result: 'report (1).csv' } });
      const [, up, down] = (await stepsOf(runId)).items;
      const sha256 = (content: string): string => createHash('sha256').update(content).digest('hex');
      expect([up?.['files'], down?.['files']]).toEqual([
        [{ direction: 'up', name: 'letter.txt', bytes: 8, sha256: sha256('Dear Ada'), mediaType: 'text/plain', hasContent: true }],
        [{ direction: 'down', name: 'report (1).csv', bytes: 8, sha256: sha256('a,b\n1,2\n'), mediaType: 'text/csv', hasContent: true }],
      ]);
      const address = (step: Record<string, unknown> | undefined, number: number): string => `/v1/runs/${encodeURIComponent(runId)}/browser-steps/${String(step?.['seq'])}/files/${String(number)}`;
      const reader = await call('POST', '/v1/api-keys', { name: 'no filer', scopes: ['runs:read'] }).then(({ secret, key: text }) => String(secret ?? text));
      expect((await send('GET', address(up, 1), undefined, reader)).status).toBe(403);
      expect((await send('GET', address(up, 2))).status).toBe(404);
      const fetched = await send('GET', address(down, 1));
      expect([fetched.headers.get('content-type'), fetched.headers.get('content-disposition'), await fetched.text()]).toEqual(['application/octet-stream', "attachment; filename*=UTF-8''report%20%281%29.csv", 'a,b\n1,2\n']);
      await page.goto(`${stack.url}/console/browser.html?id=${encodeURIComponent(runId)}`);
      await page.locator('#film li').nth(1).locator('button').click();
      await page.locator('#files', { hasText: '8 bytes, text/plain' }).waitFor();
      await picture('browser-files');
      const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#files button', { hasText: 'letter.txt' }).click()]);
      expect([download.suggestedFilename(), await readFile(await download.path(), 'utf8')]).toEqual(['letter.txt', 'Dear Ada']);
      const [archive] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
      const files = unzipSync(new Uint8Array(await readFile(await archive.path())));
      expect(Object.entries(files).filter(([name]) => name.startsWith('files/')).map(([, bytes]) => Buffer.from(bytes).toString('utf8'))).toEqual(['Dear Ada', 'a,b\n1,2\n']);
      await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.file'))).toContain(runId);
    } finally {
      await desk.close();
    }
  }, 300_000);

  it('refuses a flow that cannot run before a browser is opened', async () => {
    const runId = await start({ steps: [{ do: 'click', on: { role: 'knob' } }, { do: 'call', flow: 'none' }] });
    await expect(ended(runId)).resolves.toMatchObject({ status: 'failed', failure: { type: 'InvalidInput' } });
    const refused = await send('POST', '/v1/workflows/browser/runs', { input: { flow: { steps: [{ do: 'fly' }] } } });
    expect(refused.status).toBe(422);
  });

  it('waits for a person, and goes on where it was', async () => {
    const flow = { steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'hand-over', reason: 'A code was sent by post', deadlineSeconds: 600 }, { do: 'extract', as: 'title', from: 'title' }], result: 'vars.title' };
    const runId = await start(flow);
    const waiting = async (): Promise<Record<string, unknown>[]> => ((await call('GET', '/v1/approvals?state=open'))['items'] ?? []) as Record<string, unknown>[];
    await expect.poll(async () => (await waiting()).filter((approval) => approval['runId'] === runId).length, PATIENT).toBe(1);
    const [approval] = (await waiting()).filter((each) => each['runId'] === runId);
    expect(approval).toMatchObject({ reason: 'A code was sent by post' });
    await call('POST', `/v1/approvals/${String(approval?.['id'])}/approve`, {});
    await expect(ended(runId)).resolves.toMatchObject({ status: 'completed', result: { result: 'Sign in' } });
  });

  it('offers the flow with the ways first that found their elements', async () => {
    const runId = await start({ name: 'moved', steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'click', on: { css: '#gone', or: [{ text: 'nowhere' }, { role: 'button', name: 'Sign in' }] } }] });
    await expect(ended(runId)).resolves.toMatchObject({ status: 'completed' });
    const address = `/v1/runs/${encodeURIComponent(runId)}/browser-healings`;
    await expect(call('GET', address)).resolves.toEqual({ items: [{ path: 'steps/1', verb: 'click', name: null, way: 2, target: 'button "Sign in"', times: 1 }] });
    await page.goto(`${stack.url}/console/browser.html?id=${encodeURIComponent(runId)}`);
    await page.locator('#film li', { hasText: 'button "Sign in"' }).locator('button').click();
    await page.click('#heal');
    await page.locator('#healed', { hasText: '"#gone"' }).waitFor();
    const { flow } = await call('POST', address, {});
    const again = await start(flow);
    await expect(ended(again)).resolves.toMatchObject({ status: 'completed' });
    await expect(call('GET', `/v1/runs/${encodeURIComponent(again)}/browser-healings`)).resolves.toEqual({ items: [] });
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.healing'))).toContain(runId);
  });

  it('shows a person the live page while it waits for them; what they do there stays, and the flow goes on with it', async () => {
    const flow = { name: 'second factor', steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'type', into: { label: 'User' }, text: BOOKING_LOGIN.username }, { do: 'hand-over', reason: 'Somebody must sign in', deadlineSeconds: 600 }, { do: 'extract', as: 'title', from: 'title' }, { do: 'extract', as: 'welcome', on: { css: 'p' } }], result: "vars.title + ': ' + vars.welcome" };
    const runId = await start(flow);
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/approvals?state=open')), PATIENT).toContain(runId);
    const reader = await call('POST', '/v1/api-keys', { name: 'looker', scopes: ['runs:read'] });
    const address = `/v1/runs/${encodeURIComponent(runId)}/live-views`;
    expect((await send('POST', address, {}, String(reader['secret'] ?? reader['key']))).status).toBe(403);
    expect((await fetch(`${stack.url}/live/none/frames`)).status).toBe(404);
    await page.goto(`${stack.url}/console/browser.html?id=${encodeURIComponent(runId)}`);
    const [live] = await Promise.all([page.waitForEvent('popup'), page.click('#live')]);
    await live.setViewportSize({ width: 1400, height: 1000 });
    await live.locator('.state', { hasText: 'waits for you' }).waitFor(PATIENT);
    expect(new URL(live.url()).hash).toBe('');
    const screen = live.locator('canvas');
    // The page behind has no style of its own: the second field follows the first in the line.
    await live.bringToFront();
    const field = await fieldOnScreen(site.url, 'Password');
    const box = await screen.boundingBox();
    await live.mouse.click((box?.x ?? 0) + field.x * ((box?.width ?? 0) / 1280), (box?.y ?? 0) + field.y * ((box?.height ?? 0) / 800));
    await live.keyboard.type(BOOKING_LOGIN.password);
    await takePictures(live, 'browser-live');
    const before = site.signIns();
    await live.keyboard.press('Enter');
    await expect.poll(() => site.signIns(), PATIENT).toBe(before + 1);
    await live.click('#hand-back');
    await expect(ended(runId)).resolves.toMatchObject({ status: 'completed', result: { result: `Welcome: Welcome ${BOOKING_LOGIN.username}` } });
    await live.locator('.state', { hasText: 'over' }).waitFor();
    await live.close();
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.live-view'))).toContain(runId);
  });

  it('is taken over by a person at any moment, also where the worker dies under them, and goes on with what they did', async () => {
    const signedOut = { on: { label: 'Password' } };
    const flow = { name: 'stuck', steps: [{ do: 'navigate', url: `${site.url}/login`, timeoutSeconds: 90 }, { do: 'while', when: signedOut, most: 1000, steps: [{ do: 'pause', seconds: 0.3 }] }, { do: 'extract', as: 'title', from: 'title' }], result: 'vars.title' };
    const [runId, late] = [await start(flow), await start(flow)];
    for (const each of [runId, late]) await expect.poll(async () => (await send('GET', `/v1/runs/${encodeURIComponent(each)}/browser-steps`)).status).toBe(200);
    await call('POST', `/v1/runs/${encodeURIComponent(late)}/browser-take-over`, { deadlineSeconds: 10 });
    const reader = await call('POST', '/v1/api-keys', { name: 'no taker', scopes: ['runs:read'] });
    const path = (act: string): string => `/v1/runs/${encodeURIComponent(runId)}/browser-${act}`;
    expect((await send('POST', path('take-over'), {}, String(reader['secret'] ?? reader['key']))).status).toBe(403);
    expect((await send('POST', path('hand-back'))).status).toBe(409);
    await page.goto(`${stack.url}/console/browser.html?id=${encodeURIComponent(runId)}`);
    const [live] = await Promise.all([page.waitForEvent('popup'), page.click('#live')]);
    await live.setViewportSize({ width: 1400, height: 1000 });
    await live.click('#take-over');
    await live.locator('.state', { hasText: 'waits for you' }).waitFor(PATIENT);
    expect((await send('POST', path('take-over'), {})).status).toBe(409);
    await expect(ended(late)).resolves.toMatchObject({ status: 'failed', failure: { type: 'HandOverRefused' } });

    const before = (await stepsOf(runId)).session['takeUps'];
    stack.kill('browser', 'SIGKILL');
    await expect.poll(async () => Number((await stepsOf(runId)).session['takeUps']), PATIENT).toBeGreaterThan(Number(before));
    const fields = await Promise.all(['User', 'Password'].map((label) => fieldOnScreen(site.url, label)));
    const signIns = site.signIns();
    await live.bringToFront();
    const type = async (field: { x: number; y: number } | undefined, text: string): Promise<void> => {
      const box = await live.locator('canvas').boundingBox();
      await live.mouse.click((box?.x ?? 0) + (field?.x ?? 0) * ((box?.width ?? 0) / 1280), (box?.y ?? 0) + (field?.y ?? 0) * ((box?.height ?? 0) / 800));
      await live.keyboard.type(text);
    };
    await type(fields[0], BOOKING_LOGIN.username);
    await type(fields[1], BOOKING_LOGIN.password);
    await live.keyboard.press('Enter');
    await expect.poll(() => site.signIns(), PATIENT).toBe(signIns + 1);
    await live.click('#hand-back');
    await expect(ended(runId)).resolves.toMatchObject({ status: 'completed', result: { result: 'Welcome' } });
    await live.close();
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.take-over'))).toContain(runId);
  });

  it('begins no session where no browser-second is left', async () => {
    const { items } = (await call('GET', '/v1/platform/usage')) as { items: { organisation: string }[] };
    const plan = `/v1/platform/organisations/${items[0]?.organisation ?? ''}/plan`;
    await call('PUT', plan, { plan: 'enterprise', overrides: { quotas: { 'browser-seconds': { soft: null, hard: 1 } } } });
    const begin = (): Promise<Response> => send('POST', '/v1/workflows/browser/runs', { input: { flow: { steps: [{ do: 'pause', seconds: 0.1 }] } } });
    await expect.poll(async () => (await begin()).status).toBe(402);
    await call('PUT', plan, { plan: 'enterprise' });
    await expect.poll(async () => (await begin()).status).toBe(201);
  });

  it('stops at once when it is cancelled, and forgets the login', async () => {
    const runId = await start({ steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'pause', seconds: 300 }] });
    await expect.poll(async () => (await send('GET', `/v1/runs/${encodeURIComponent(runId)}/browser-steps`)).status).toBe(200);
    await expect.poll(async () => (await stepsOf(runId)).items.length).toBe(1);
    await call('POST', `/v1/runs/${encodeURIComponent(runId)}/cancel`);
    await expect(ended(runId)).resolves.toMatchObject({ status: 'cancelled' });
    await expect.poll(async () => (await stepsOf(runId)).session['state']).toBe('cancelled');
  });

  it('shows pictures only to who may decrypt', async () => {
    const runId = await start({ steps: [{ do: 'navigate', url: `${site.url}/login` }] });
    await ended(runId);
    const reader = await call('POST', '/v1/api-keys', { name: 'reader', scopes: ['runs:read'] });
    const [step] = (await stepsOf(runId)).items;
    const address = `/v1/runs/${encodeURIComponent(runId)}/browser-steps/${String(step?.['seq'])}/picture`;
    expect((await send('GET', address, undefined, String(reader['secret'] ?? reader['key']))).status).toBe(403);
    const seen = await send('GET', address);
    expect(seen.headers.get('content-type')).toBe('image/jpeg');
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.picture'))).toContain(runId);
    const words = address.replace(/picture$/, 'snapshot');
    expect((await send('GET', words, undefined, String(reader['secret'] ?? reader['key']))).status).toBe(403);
    expect(await (await send('GET', words)).text()).toContain('textbox "Password"');
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=browser.snapshot'))).toContain(runId);
  });
});
