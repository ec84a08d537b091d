import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrowserModel } from '../../activities/browser/browser-model.ts';
import { ChromiumPool } from '../../activities/browser/chromium-pool.ts';
import type { FlowOutcome } from '../../activities/browser/flow-runner.ts';
import { SessionWorker } from '../../activities/browser/session-worker.ts';
import { BrowserBaselineStore } from '../../database/browser-baselines.ts';
import { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronCallStore } from '../../database/neuron-calls.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { FileBlobStore } from '../../platform/blobs/file-blob-store.ts';
import { Budgets } from '../../platform/budgets/budgets.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { actOf } from '../../platform/audit/act.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import { flowSchema, type FlowDraft } from '../../schemas/browser/flow.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { answerMessage } from '../external/anthropic.ts';
import { BOOKING_LOGIN, startBookingSite, type BookingSite } from './sites/booking.ts';
import { PUZZLE, startCaptchaSite, TILES } from './sites/captcha.ts';

/** Steps in words: a real Chromium, and a local server that speaks the model's protocol. */
describe('steps in words', () => {
  const logger = pino({ level: 'silent' });
  const keys = new KeyRing([{ id: 'test', key: Buffer.alloc(32, 7) }]);
  const egress = new Egress({ allowPrivate: true });
  let test: TestDatabase;
  let org = '';
  let folder = '';
  let site: BookingSite;
  let provider: LocalServer;
  let puzzles: LocalServer;
  let pool: ChromiumPool;
  let worker: SessionWorker;
  let store: BrowserSessionStore;
  /** What the model answers, question after question. */
  let answers: unknown[] = [];

  const workerOn = (own: ChromiumPool): SessionWorker => {
    const connections = new Connections({ database: test.database, keys, egress });
    const blobs = new FileBlobStore(join(folder, 'blobs'), keys);
    const model = new BrowserModel({ connections, egress, budgets: new Budgets(test.database), calls: new NeuronCallStore(test.database), breakers: new NeuronBreakerStore(test.database), blobs, memories: new Memories({ database: test.database, keys, subjects: new SubjectKeys({ database: test.database, keys }) }) }, new NeuronStore(test.database));
    return new SessionWorker({ pool: own, store, baselines: new BrowserBaselineStore(test.database), blobs, connections, egress, logger, model, workerId: 'test', keys, views: new BrowserLiveViewStore(test.database) });
  };
  const play = async (draft: FlowDraft | Record<string, unknown>, options: { by?: SessionWorker; id?: string; signal?: AbortSignal; onStep?: (taken: number) => void } = {}): Promise<FlowOutcome & { steps: number }> => {
    const { by = worker, id = randomUUID(), signal = new AbortController().signal, onStep = () => undefined } = options;
    const flow = flowSchema.parse({ evidence: 'none', ...draft });
    try {
      for (;;) {
        await expect.poll(() => by.claim({ orgId: org, id }, 30_000)).toBe(true);
        const outcome = await by.work({ orgId: org, id, runId: `browser~${id}` }, flow, {}, signal, onStep);
        if (outcome.kind !== 'yielded') return outcome;
      }
    } finally {
      await by.release(id);
    }
  };
  const asked = (): string => provider.received.map(({ body }) => body).join('\n');

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-words-'));
    [test, site, puzzles, provider] = await Promise.all([createTestDatabase(), startBookingSite(), startCaptchaSite(BOOKING_LOGIN.password), startHttpServer((request, response) => answerMessage(response, request.body, answers.shift() ?? { done: true, steps: [] }))]);
    org = await test.organisation();
    store = new BrowserSessionStore(test.database);
    pool = new ChromiumPool({ slots: 2, executablePath: process.env['HAL9_CHROMIUM'], logger });
    worker = workerOn(pool);
    const caller = systemCaller(org, 'test');
    const connections = new Connections({ database: test.database, keys, egress });
    const add = (name: string, settings: Parameters<Connections['create']>[1]['settings']): Promise<unknown> => connections.create(caller, { name, settings }, { test: false, signal: AbortSignal.timeout(5000) });
    await add('booking', { kind: 'website', origins: [site.url], ...BOOKING_LOGIN });
    await add('models', { kind: 'llm', provider: 'anthropic', apiKey: 'sk-ant-canary', baseUrl: `${provider.url}/v1` });
    const neuron = neuronDraftSchema.parse({
      name: 'browser', layer: 'L2', enabled: false, subscription: { types: ['none'] },
      behaviour: { kind: 'llm', connection: 'models', model: 'claude-3-haiku-20240307', system: 'Be brief.', prompt: '""', answer: { type: 'object' }, price: { input: 1, output: 5 }, rules: [{ when: 'true', decide: { summary: '"none"', reason: '"none"' } }] },
    });
    await new NeuronStore(test.database).create(org, randomUUID(), neuron, 'test', actOf(caller, 'neuron.create', { kind: 'neuron', id: 'browser' }));
  });
  afterAll(async () => {
    await worker.close();
    await pool.close();
    await egress.close();
    await Promise.all([site.close(), puzzles.close(), provider.close(), test.drop()]);
    await rm(folder, { recursive: true, force: true });
  });

  const signIn = [
    { done: false, steps: [{ do: 'type', element: { label: 'User' }, credential: 'booking', field: 'username' }, { do: 'type', element: { label: 'Password' }, credential: 'booking', field: 'password' }, { do: 'click', element: { role: 'button', name: 'Sign in' } }] },
    { done: true, steps: [{ do: 'click', element: { role: 'link', name: 'New booking' } }] },
  ];
  const words = (): Record<string, unknown> => ({
    steps: [
      { do: 'navigate', url: `${site.url}/login` },
      { do: 'act', words: 'sign in and begin a new booking', credentials: ['booking'], repeatable: true },
      { do: 'extract', as: 'heading', words: 'which page of how many this is' },
      { do: 'observe', as: 'fields', words: 'the fields to fill in' },
    ],
  });
  const reading = [{ element: { role: 'heading' } }, { steps: [{ about: 'name the booking', step: { do: 'type', element: { label: 'Reference' }, text: '{{ vars.heading }}' } }] }];

  it('are turned into steps of the flow, taken and put on record; the model sees the page as data and no secret', async () => {
    answers = [...signIn, ...reading];
    const before = provider.received.length;
    const id = randomUUID();
    await expect(play(words(), { id })).resolves.toMatchObject({
      kind: 'done',
      result: { heading: 'Page 1 of 3', fields: [{ about: 'name the booking', step: { do: 'type', into: { label: 'Reference' }, text: '{{ "{{" }} vars.heading }}' } }] },
    });
    expect(provider.received.length - before).toBe(4);
    expect((await store.steps(org, id, 100)).map(({ verb, path }) => `${path} ${verb}`)).toEqual([
      'steps/0 navigate', 'steps/1 act', 'steps/1/proposed/0 type', 'steps/1/proposed/1 type', 'steps/1/proposed/2 click', 'steps/1 act', 'steps/1/proposed/0 click', 'steps/2 extract', 'steps/2/proposed/0 extract', 'steps/3 observe',
    ]);
    expect(asked()).toContain('textbox \\"Password\\"');
    expect(asked()).toMatch(/<untrusted-[0-9a-f]{16}>/);
    expect(asked()).not.toContain(BOOKING_LOGIN.password);
    expect(asked()).toContain('Welcome [secret]');
  });

  it('are asked once: another worker that takes the session up reads what was proposed', async () => {
    answers = [...signIn, ...reading];
    const before = provider.received.length;
    const id = randomUUID();
    const own = new ChromiumPool({ slots: 1, executablePath: process.env['HAL9_CHROMIUM'], logger });
    const cut = new AbortController();
    const first = workerOn(own);
    await expect(play(words(), { by: first, id, signal: cut.signal, onStep: (taken) => void (taken === 4 && cut.abort(new Error('cut off'))) })).rejects.toThrow('cut off');
    await own.close();
    await expect(play(words(), { id })).resolves.toMatchObject({ kind: 'done', result: { heading: 'Page 1 of 3' } });
    expect(provider.received.length - before).toBe(4);
  });

  it('do not lead where the flow did not say: other sites, credentials, verbs', async () => {
    const attempt = async (step: unknown): Promise<unknown> => {
      answers = [{ done: true, steps: [step] }];
      return play({ steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'act', words: 'sign in' }] });
    };
    await expect(attempt({ do: 'navigate', url: 'http://elsewhere.example/?stolen=1' })).rejects.toMatchObject({ type: 'StepFailed', message: expect.stringContaining('leave the site') });
    await expect(attempt({ do: 'type', element: { label: 'User' }, credential: 'booking', field: 'password' })).rejects.toMatchObject({ type: 'StepFailed', message: expect.stringContaining('does not offer') });
    await expect(attempt({ do: 'upload', element: { label: 'User' } })).rejects.toMatchObject({ type: 'ModelUnavailable', message: expect.stringContaining('does not fit the schema') });
  });

  it('say plainly that there is no model, and what to do', async () => {
    const id = randomUUID();
    await expect(play({ neuron: 'nobody', steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'act', words: 'sign in' }] }, { id })).rejects.toMatchObject({ type: 'ModelUnavailable', message: 'steps/1 (act): no model is configured for steps in words: there is no neuron of kind llm named "nobody"; make one (with a connection of kind llm), or write the step with a locator' });
    expect((await store.steps(org, id, 10)).at(-1)).toMatchObject({ verb: 'act', outcome: 'failed' });
  });

  describe('beside CAPTCHAs', () => {
    /** The credential is never typed: that a flow could type it is enough for nobody to see it. */
    const pass = (page: string, captcha: Record<string, unknown> = {}): Record<string, unknown> => ({
      captcha: { neuron: 'browser', ...captcha },
      steps: [{ do: 'navigate', url: `${puzzles.url}/${page}` }, { do: 'if', when: { that: 'false' }, steps: [{ do: 'type', into: { label: 'Password' }, secret: { credential: 'booking', field: 'password' } }] }, { do: 'extract', as: 'state', on: { css: '#state' }, match: '^(open)$' }],
    });
    const attempts = async (id: string): Promise<string[]> => (await store.steps(org, id, 100)).filter(({ verb }) => verb === 'act').map(({ name, outcome, failure }) => `${name ?? ''} ${outcome}${failure === null ? '' : `: ${failure}`}`);
    const pictures = (from: number): Buffer[] =>
      provider.received.slice(from).map(({ body }) => {
        const [picture] = (JSON.parse(body) as { messages: { content: { type: string; source?: { data: string } }[] }[] }).messages[0]?.content ?? [];
        return Buffer.from(picture?.source?.data ?? '', 'base64');
      });

    it('show the picture to the neuron that the flow names, type what it reads, and try again when it was wrong', async () => {
      answers = [{ text: 'wrong' }, { text: PUZZLE }];
      const [id, before] = [randomUUID(), provider.received.length];
      await expect(play(pass('read'), { id })).resolves.toMatchObject({ kind: 'done', result: { state: 'open' } });
      expect(await attempts(id)).toEqual(['CAPTCHA: a picture to be read failed: the CAPTCHA is still there', 'CAPTCHA: a picture to be read done']);
      expect(pictures(before).map((picture) => picture.subarray(1, 4).toString())).toEqual(['PNG', 'PNG']);
    });

    it('click where it says; what it sees has no secret in it', async () => {
      answers = [{ places: TILES.right }];
      const [id, before] = [randomUUID(), provider.received.length];
      await expect(play(pass('tiles'), { id })).resolves.toMatchObject({ kind: 'done', result: { state: 'open' } });
      expect(await attempts(id)).toEqual(['CAPTCHA: hCaptcha done']);
      const [picture] = pictures(before);
      if (picture === undefined) throw new Error('no picture was sent');
      const colourAt = coloursOf(picture);
      const { x, y, width, height } = TILES.secret;
      const seen = new Set<string>();
      for (let across = x + 1; across < x + width - 1; across += 1) for (let down = y + 1; down < y + height - 1; down += 1) seen.add(colourAt(across, down));
      expect([...seen]).toEqual(['ff00ff']);
      expect(colourAt(TILES.right[0].x, TILES.right[0].y)).toBe('00ff00');
    });

    it.each<[string, unknown[], Record<string, unknown>, string[]]>([
      ['it cannot solve it', [{}], {}, ['the model cannot solve it']],
      ['its tries are used up', [{ places: [{ x: 9_000, y: 5 }] }, { text: 'tiles' }], { tries: 2 }, ['the model named a place outside of the CAPTCHA', 'the model named no place of the CAPTCHA']],
      ['there is none', [], { neuron: 'nobody' }, ['no model is configured for CAPTCHAs: there is no neuron of kind llm named "nobody"; make one (with a connection of kind llm), or leave out `captcha.neuron`']],
    ])('are for a person when %s', async (_, given, captcha, failures) => {
      answers = [...given];
      const [id, before] = [randomUUID(), provider.received.length];
      await expect(play(pass('tiles', captcha), { id })).resolves.toMatchObject({ kind: 'hand-over', reason: 'steps/2: a CAPTCHA is in the way (hCaptcha)' });
      expect(await attempts(id)).toEqual(failures.map((failure) => `CAPTCHA: hCaptcha failed: ${failure}`));
      expect(provider.received.length - before).toBe(given.length);
    });
  });

  it('keep to the budget of the organisation', async () => {
    const other = systemCaller(org, 'test');
    await new Budgets(test.database).replace(other, { day: { calls: 0 } });
    try {
      await expect(play({ steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'act', words: 'do nothing' }] })).rejects.toMatchObject({ type: 'ModelUnavailable', message: expect.stringContaining('budget of the day is used up') });
    } finally {
      await new Budgets(test.database).replace(other, {});
    }
  });
});

/** The colours of a PNG of 8 bits a channel, not interlaced (https://www.w3.org/TR/png-3/), as RGB in hexadecimal. */
function coloursOf(png: Buffer): (x: number, y: number) => string {
  let [width, height, channels] = [0, 0, 3];
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const [type, body] = [png.toString('latin1', at + 4, at + 8), png.subarray(at + 8, at + 8 + png.readUInt32BE(at))];
    if (type === 'IHDR') [width, height, channels] = [body.readUInt32BE(0), body.readUInt32BE(4), body[9] === 6 ? 4 : 3];
    if (type === 'IDAT') data.push(body);
  }
  const raw = inflateSync(Buffer.concat(data));
  const line = width * channels;
  const rows: Uint8Array[] = [];
  for (let row = 0; row < height; row += 1) {
    const [begin, above, current] = [row * (line + 1), rows.at(-1) ?? new Uint8Array(line), new Uint8Array(line)];
    for (let index = 0; index < line; index += 1) {
      const [left, up, corner] = [current[index - channels] ?? 0, above[index] ?? 0, above[index - channels] ?? 0];
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      current[index] = (raw[begin + 1 + index] ?? 0) + ([0, left, up, Math.floor((left + up) / 2), paeth][raw[begin] ?? 0] ?? 0);
    }
    rows.push(current);
  }
  return (x, y) => Buffer.from(rows[y]?.subarray(x * channels, x * channels + 3) ?? []).toString('hex');
}
