import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChromiumPool } from '../../activities/browser/chromium-pool.ts';
import type { FlowOutcome } from '../../activities/browser/flow-runner.ts';
import { SessionWorker } from '../../activities/browser/session-worker.ts';
import { BrowserModel } from '../../activities/browser/browser-model.ts';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronCallStore } from '../../database/neuron-calls.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { BrowserBaselineStore } from '../../database/browser-baselines.ts';
import { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { actOf } from '../../platform/audit/act.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { FileBlobStore } from '../../platform/blobs/file-blob-store.ts';
import { Budgets } from '../../platform/budgets/budgets.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import { flowSchema, type FlowDraft } from '../../schemas/browser/flow.ts';
import { LIVE_VIEW_PURPOSE } from '../../schemas/names/live-view.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { BOOKING_LOGIN, bookingFlow, startBookingSite, type BookingSite } from './sites/booking.ts';
import { startHostileSite, type HostileSite } from './sites/hostile.ts';

const CANARY = 'canary-4f7c1d2e9b';

/** Sessions of a worker in a real Chromium, on pages that mean well and on others. */
describe('a browser worker', () => {
  const lines: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const keys = new KeyRing([{ id: 'test', key: Buffer.alloc(32, 7) }]);
  const egress = new Egress({ allowPrivate: true });
  let test: TestDatabase;
  let org = '';
  let folder = '';
  let store: BrowserSessionStore;
  let blobs: FileBlobStore;
  let pool: ChromiumPool;
  let worker: SessionWorker;
  let model: BrowserModel;
  let hostile: HostileSite;
  let booking: BookingSite;
  let views: BrowserLiveViewStore;

  const workerOn = (own: ChromiumPool): SessionWorker => new SessionWorker({ pool: own, store, baselines: new BrowserBaselineStore(test.database), blobs, connections: new Connections({ database: test.database, keys, egress }), egress, logger, model, workerId: 'test', keys, views });
  const play = async (draft: FlowDraft | Record<string, unknown>, options: { input?: unknown; by?: SessionWorker; id?: string; signal?: AbortSignal } = {}): Promise<FlowOutcome & { steps: number }> => {
    const id = options.id ?? randomUUID();
    const by = options.by ?? worker;
    const flow = flowSchema.parse(draft);
    try {
      for (;;) {
        await expect.poll(() => by.claim({ orgId: org, id }, 30_000)).toBe(true);
        const outcome = await by.work({ orgId: org, id, runId: `browser~${id}` }, flow, options.input ?? {}, options.signal ?? new AbortController().signal, () => undefined);
        if (outcome.kind !== 'yielded') return outcome;
      }
    } finally {
      await by.release(id);
    }
  };
  /** The pages in words that steps of a session left. */
  const wordsOf = async (id: string): Promise<string[]> => {
    const references = (await store.steps(org, id, 100)).map(({ snapshot }) => snapshot).filter(isBlobRef);
    return Promise.all(references.map(async (reference) => (await blobs.get(org, reference)).toString('utf8')));
  };
  /** The page as a turn answered it. */
  const answerOf = async (turn: Awaited<ReturnType<SessionWorker['turn']>>): Promise<string> => {
    if (turn.kind !== 'answered' || !isBlobRef(turn.outcome.answer)) return turn.kind;
    return (await blobs.get(org, turn.outcome.answer)).toString('utf8');
  };
  const press = (name: string, more: FlowDraft['steps'] = []): FlowDraft => ({ evidence: 'none', stepSeconds: 6, steps: [{ do: 'navigate', url: `${hostile.url}/${name}` }, { do: 'click', on: { role: 'button' } }, ...more] });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-browser-'));
    [test, hostile, booking] = await Promise.all([createTestDatabase(), startHostileSite(), startBookingSite()]);
    org = await test.organisation();
    store = new BrowserSessionStore(test.database);
    views = new BrowserLiveViewStore(test.database);
    blobs = new FileBlobStore(join(folder, 'blobs'), keys);
    pool = new ChromiumPool({ slots: 4, executablePath: process.env['HAL9_CHROMIUM'], logger, pageMegabytes: 400 });
    const connections = new Connections({ database: test.database, keys, egress });
    model = new BrowserModel({ connections, egress, budgets: new Budgets(test.database), calls: new NeuronCallStore(test.database), breakers: new NeuronBreakerStore(test.database), blobs, memories: new Memories({ database: test.database, keys, subjects: new SubjectKeys({ database: test.database, keys }) }) }, new NeuronStore(test.database));
    worker = workerOn(pool);
    const caller = systemCaller(org, 'test');
    await connections.create(caller, { name: 'booking', settings: { kind: 'website', origins: [booking.url], ...BOOKING_LOGIN } }, { test: false, signal: AbortSignal.timeout(5000) });
    await connections.create(caller, { name: 'canary', settings: { kind: 'website', origins: [hostile.url], password: CANARY, totpSeed: 'JBSWY3DPEHPK3PXP' } }, { test: false, signal: AbortSignal.timeout(5000) });
  });
  afterAll(async () => {
    await worker.close();
    await pool.close();
    await egress.close();
    await Promise.all([hostile.close(), booking.close(), test.drop()]);
    await rm(folder, { recursive: true, force: true });
  });

  it('works through a site and keeps what it saw of each step', async () => {
    const id = randomUUID();
    await expect(play(bookingFlow(booking.url), { id, input: { reference: 'whole' } })).resolves.toMatchObject({ kind: 'done', result: 'B-whole', steps: 20 });
    expect(booking.bookings.get('whole')).toBe(1);
    const steps = await store.steps(org, id, 100);
    expect(steps.map(({ verb }) => verb)).toHaveLength(20);
    expect(steps.every(({ outcome, failure }) => outcome === 'done' && failure === null)).toBe(true);
    expect(steps.find(({ name }) => name === 'book')).toMatchObject({ verb: 'click', target: 'button "Book"', way: 0 });
    expect((await blobs.get(org, `blob:${steps[0]?.picture?.replace('blob:', '') ?? ''}`)).subarray(0, 2).toString('hex')).toBe('ffd8');
    // A page of the site is small: it is there in words too, without the password.
    const words = await wordsOf(id);
    expect(words[0]).toContain(`# ${id}\n`);
    expect(words.join('')).toContain('textbox "Password": [secret]');
    expect(words.join('')).toContain('button "Book"');
    expect(words.join('')).not.toContain(BOOKING_LOGIN.password);
  });

  it('puts large pages into words where the flow asks for it or a step fails, and none where it wants no evidence', async () => {
    const flow = (more: FlowDraft['steps'], evidence: FlowDraft['evidence']): FlowDraft => ({ steps: [{ do: 'navigate', url: `${hostile.url}/large` }, ...more], ...(evidence === undefined ? {} : { evidence }) });
    const words = async (more: FlowDraft['steps'], evidence?: FlowDraft['evidence']): Promise<string[]> => {
      const id = randomUUID();
      await play(flow(more, evidence), { id }).catch((error: unknown) => expect(error).toMatchObject({ type: 'StepFailed' }));
      return wordsOf(id);
    };
    const missing = { do: 'click', on: { role: 'button', name: 'None' }, timeoutSeconds: 0.5 } as const;
    await expect(words([])).resolves.toEqual([]);
    await expect(words([missing])).resolves.toEqual([expect.stringContaining('line 120')]);
    await expect(words([], 'full')).resolves.toEqual([expect.stringContaining('line 120')]);
    await expect(words([missing], 'none')).resolves.toEqual([]);
  });

  it('goes on elsewhere, signed in, from where another worker was cut off, and books once', async () => {
    for (const cutAt of [5, 10, 15, 18, 19]) {
      const id = randomUUID();
      const reference = `cut-${String(cutAt)}`;
      const own = new ChromiumPool({ slots: 1, executablePath: process.env['HAL9_CHROMIUM'], logger });
      const first = workerOn(own);
      const cut = new AbortController();
      const flow = flowSchema.parse(bookingFlow(booking.url));
      const before = booking.signIns();
      expect(await first.claim({ orgId: org, id }, 1000)).toBe(true);
      const working = first.work({ orgId: org, id, runId: `browser~${id}` }, flow, { reference }, cut.signal, (taken) => {
        if (taken === cutAt) cut.abort(new Error('cut off'));
      });
      await expect(working, reference).rejects.toThrow('cut off');
      await own.close();
      await expect(play(bookingFlow(booking.url), { id, input: { reference } }), reference).resolves.toMatchObject({ kind: 'done', result: `B-${reference}` });
      expect(booking.bookings.get(reference), reference).toBe(1);
      expect(booking.signIns() - before, reference).toBe(1);
    }
  });

  it('shows who takes over an interactive session that was let go the page as it was left, and goes on with what they did', async () => {
    const id = randomUUID();
    const name = { orgId: org, id, runId: `browser-session~${id}` };
    const { username, password } = BOOKING_LOGIN;
    const { steps, ...settings } = flowSchema.parse({ evidence: 'none', steps: [{ do: 'navigate', url: `${booking.url}/login` }, { do: 'type', into: { label: 'User' }, text: username }, { do: 'type', into: { label: 'Password' }, text: password }, { do: 'wait', for: { text: `Welcome ${username}` } }] });
    const answered = steps.slice(0, -1);
    const turn = (since: number, snapshot: boolean): ReturnType<SessionWorker['turn']> => worker.turn(name, { ...settings, steps: steps.slice(0, since + 1) }, { from: 0, since }, { id: randomUUID(), look: { snapshot, picture: false } }, new AbortController().signal, () => undefined);
    const claimed = (): Promise<void> => expect.poll(() => worker.claim(name, 30_000)).toBe(true);
    await claimed();
    for (const since of answered.keys()) await expect(turn(since, false)).resolves.toMatchObject({ kind: 'answered', outcome: { failure: null } });
    await worker.release(id);
    const signIns = booking.signIns();

    const view = { orgId: org, sessionId: id, id: randomUUID(), expiresAt: new Date(Date.now() + 900_000) };
    await views.open(view, actOf(systemCaller(org, 'test'), 'browser.take-over', { kind: 'run', id: name.runId }));
    await claimed();
    const back = new AbortController();
    const attending = worker.attend(name, { ...settings, steps: answered }, back.signal, { from: 0, since: answered.length });
    attending.catch(() => undefined); // what came of it is told below
    await expect.poll(async () => (await views.present(org, id, view.id)) && (await views.frame(org, id, 0))?.attended).toBe(true);
    // The field that was typed into last has the focus: Enter sends what was typed before the session was let go.
    expect(await views.send(org, id, keys.seal(org, LIVE_VIEW_PURPOSE, JSON.stringify([{ do: 'key-down', key: 'Enter' }, { do: 'key-up', key: 'Enter' }]), id))).toBe(true);
    await expect.poll(async () => (await views.present(org, id, view.id)) && booking.signIns()).toBe(signIns + 1);
    back.abort(new Error('handed back'));
    await expect(attending).rejects.toThrow('handed back');
    expect(await answerOf(await turn(answered.length, true))).toContain(`Welcome ${username}`);
    await worker.release(id);
  });

  it('lets an earlier holder write nothing any more', async () => {
    const id = randomUUID();
    const session = { id, runId: `browser~${id}`, flow: null, worker: 'a' };
    const first = await store.takeUp(org, session);
    const second = await store.takeUp(org, { ...session, worker: 'b' });
    expect(second.fence).toBe(first.fence + 1);
    expect(await store.begin({ orgId: org, id, fence: first.fence }, '0')).toBe(false);
    expect(await store.checkpoint({ orgId: org, id, fence: first.fence }, { reference: 'blob:0', over: [], workedMs: 0 }, [])).toBeUndefined();
    expect(await store.begin({ orgId: org, id, fence: second.fence }, '0')).toBe(true);
    expect((await store.takeUp(org, session)).begun).toEqual(['0']);
  });

  it('counts the seconds of its work once, whoever holds the session and however often it is ended', async () => {
    const id = randomUUID();
    const used = async (): Promise<number> => {
      const { rows } = await sql<{ used: number }>`select coalesce(sum(quantity), 0)::int as used from usage_events where org_id = ${org} and meter = 'browser-seconds' and key like ${`${id}/%`}`.execute(test.database.system);
      return rows[0]?.used ?? 0;
    };
    const session = { id, runId: `browser~${id}`, flow: null, worker: 'a' };
    const hold = { orgId: org, id, fence: (await store.takeUp(org, session)).fence };
    expect(await store.work(hold, 2400)).toBe(true);
    expect(await used()).toBe(2);
    expect(await store.checkpoint(hold, { reference: 'blob:0', over: [], workedMs: 700 }, [])).toEqual({ before: null });
    const next = await store.takeUp(org, { ...session, worker: 'b' });
    expect(next.workedMs).toBe(3100);
    expect(await store.work(hold, 60_000)).toBe(false);
    expect(await store.work({ ...hold, fence: next.fence }, 1000)).toBe(true);
    expect(await used()).toBe(4);
    await store.close(org, id, 'done');
    await store.close(org, id, 'done');
    expect(await used()).toBe(5);
  });

  it('has its work in the record of the session', async () => {
    const id = randomUUID();
    await play({ evidence: 'none', steps: [{ do: 'pause', seconds: 1.2 }] }, { id });
    const [session] = await store.ofRun(org, `browser~${id}`);
    expect(session?.workedMs).toBeGreaterThanOrEqual(1200);
  });

  it('does not guess whether an unguarded effect happened', async () => {
    const id = randomUUID();
    const { fence } = await store.takeUp(org, { id, runId: `browser~${id}`, flow: null, worker: 'dead' });
    await store.begin({ orgId: org, id, fence }, '1');
    await expect(play(press('plain'), { id })).rejects.toMatchObject({ type: 'EffectUncertain' });
  });

  it.each<[string, () => FlowDraft, string, RegExp]>([
    ['loops', () => press('loop', [{ do: 'click', on: { text: 'after' } }]), 'StepFailed', /./],
    ['takes 4 GB of memory', () => press('memory', [{ do: 'wait', for: { text: 'never' }, timeoutSeconds: 60 }]), 'PageCrashed', /want of memory/],
    ['opens a hundred windows', () => press('popups', [{ do: 'wait', for: { text: 'never' } }]), 'SessionLimit', /more than 10 pages/],
    ['downloads without end', () => ({ ...press('download', [{ do: 'wait', for: { text: 'never' }, timeoutSeconds: 60 }]), limits: { megabytes: 20 } }), 'SessionLimit', /more than 20 MB/],
    ['never answers', () => press('silent'), 'StepFailed', /did not become possible in time/],
    ['takes too long', () => ({ ...press('plain'), limits: { minutes: 0.03 }, steps: [{ do: 'pause', seconds: 60 }] }), 'SessionLimit', /longer than 0.03 minutes/],
  ])('ends the session of a page that %s, and no other', async (name, draft, type, message) => {
    const neighbour = play(bookingFlow(booking.url), { input: { reference: `beside ${name}` } });
    await expect(play(draft())).rejects.toMatchObject({ type, message: expect.stringMatching(message) });
    await expect(neighbour).resolves.toMatchObject({ kind: 'done' });
  });

  it.each([['captcha', 'Turnstile'], ['puzzle', 'a picture to be read']])('asks a person when a CAPTCHA is in the way, once: %s', async (name, widget) => {
    const id = randomUUID();
    const flow: FlowDraft = { evidence: 'none', stepSeconds: 2, steps: [{ do: 'navigate', url: `${hostile.url}/${name}` }, { do: 'click', on: { role: 'button', name: 'Buy' } }] };
    await expect(play(flow, { id })).resolves.toMatchObject({ kind: 'hand-over', reason: `steps/1: a CAPTCHA is in the way (${widget})`, deadlineSeconds: 3600 });
    await expect(play(flow, { id })).rejects.toMatchObject({ type: 'StepFailed', message: expect.stringContaining(`a CAPTCHA stands on the page (${widget})`) });
  });

  it.each(['unseen', 'solved', 'plain'])('takes no CAPTCHA for an obstacle that is unseen or solved: %s', async (name) => {
    await expect(play({ evidence: 'none', stepSeconds: 2, steps: [{ do: 'navigate', url: `${hostile.url}/${name}` }, { do: 'click', on: { role: 'button', name: 'Buy' } }] })).rejects.toMatchObject({ type: 'StepFailed', message: 'steps/1 (click): there is no button "Buy" on the page' });
  });

  it('answers dialogs, and keeps them as evidence', async () => {
    const id = randomUUID();
    await play(press('dialogs', [{ do: 'wait', for: { text: 'answered' } }]), { id });
    const troubles = (await store.steps(org, id, 10)).flatMap((step) => step.troubles.map(({ text }) => text));
    expect(troubles).toEqual(expect.arrayContaining(['alert: 1', 'confirm: 2', 'prompt: 3']));
  });

  it('gives a secret to its own site only, and to nothing else', async () => {
    const id = randomUUID();
    const type = (url: string, field: 'password' | 'totp'): FlowDraft => ({ steps: [{ do: 'navigate', url }, { do: 'type', into: { label: 'Secret' }, secret: { credential: 'canary', field } }, { do: 'extract', as: 'length', on: { label: 'Secret' }, read: 'value', match: '^(\\d{6})$', optional: true }], result: 'vars.length' });
    await expect(play(type(`${hostile.url}/echo`, 'totp'))).resolves.toMatchObject({ result: expect.stringMatching(/^\d{6}$/) });
    await play(type(`${hostile.url}/echo`, 'password'), { id });
    await expect(play(type(`${hostile.url.replace('127.0.0.1', 'localhost')}/echo`, 'password'))).rejects.toThrow('is not for this page');
    const client = new pg.Client({ connectionString: test.url });
    await client.connect();
    try {
      for (const table of ['browser_steps', 'browser_sessions', 'browser_effects', 'connections']) {
        const { rows } = await client.query<{ row: string }>(`select t::text as row from ${table} t`);
        for (const { row } of rows) expect(row, table).not.toContain(CANARY);
      }
    } finally {
      await client.end();
    }
    const files = (await readdir(join(folder, 'blobs'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(10);
    for (const entry of files) expect((await readFile(join(entry.parentPath, entry.name))).includes(CANARY)).toBe(false);
    expect(lines.join('')).not.toContain(CANARY);
    const troubles = (await store.steps(org, id, 10)).flatMap((step) => step.troubles.map(({ text }) => text));
    expect(troubles.some((text) => text.includes('[secret]'))).toBe(true);
    // The field is an ordinary one, and shows what was typed: its words do not.
    const words = await wordsOf(id);
    expect(words.join('')).toContain('textbox "Secret": [secret]');
    expect(words.join('')).not.toContain(CANARY.slice(0, 8));
  });

  it('serves fifty sessions on four slots: none sees a cookie of another, and no Chromium is left', async () => {
    const look: FlowDraft = { evidence: 'none', steps: [{ do: 'navigate', url: `${hostile.url}/echo` }, { do: 'extract', as: 'cookie', on: { css: '#cookie' } }], result: 'vars.cookie' };
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => play(look)));
    expect(outcomes.map((outcome) => (outcome.kind === 'done' ? outcome.result : outcome.kind))).toEqual(Array.from({ length: 50 }, () => ''));
    expect(pool.free).toBe(4);
    await expect.poll(browsersBelow).toBe(0);
  }, 240_000);
});

/** Chromium processes that this process started and that are still there. */
async function browsersBelow(): Promise<number> {
  let count = 0;
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const [stat, command] = await Promise.all([readFile(`/proc/${entry}/stat`, 'utf8'), readFile(`/proc/${entry}/cmdline`, 'utf8')]).catch(() => ['', '']);
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(parent) === process.pid && state !== 'Z' && command.includes('--headless')) count += 1;
  }
  return count;
}
