import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { pino } from 'pino';
import { PNG } from 'pngjs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ChromiumPool } from '../../activities/browser/chromium-pool.ts';
import { SessionWorker } from '../../activities/browser/session-worker.ts';
import { BrowserBaselineStore } from '../../database/browser-baselines.ts';
import { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import { BrowserSessionStore, type StoredBrowserStep } from '../../database/browser-sessions.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { FileBlobStore } from '../../platform/blobs/file-blob-store.ts';
import { BrowserBaselines } from '../../platform/browser/baselines.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { flowSchema, type FlowDraft } from '../../schemas/browser/flow.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { PLAIN, startPaintedSite, type PaintedSite } from './sites/painted.ts';

/** Pictures of pages against their baselines, in a real Chromium. */
describe('a step that compares', { timeout: 120_000 }, () => {
  const logger = pino({ level: 'silent' });
  const keys = new KeyRing([{ id: 'test', key: Buffer.alloc(32, 7) }]);
  const egress = new Egress({ allowPrivate: true });
  let test: TestDatabase;
  let folder = '';
  let subjects: SubjectKeys;
  let store: BrowserSessionStore;
  let blobs: FileBlobStore;
  let baselines: BrowserBaselines;
  let pool: ChromiumPool;
  let worker: SessionWorker;
  let site: PaintedSite;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-compare-'));
    [test, site] = await Promise.all([createTestDatabase(), startPaintedSite()]);
    const { database } = test;
    store = new BrowserSessionStore(database);
    subjects = new SubjectKeys({ database, keys });
    blobs = new FileBlobStore(join(folder, 'blobs'), keys, subjects);
    baselines = new BrowserBaselines({ database, blobs });
    pool = new ChromiumPool({ slots: 2, executablePath: process.env['HAL9_CHROMIUM'], logger });
    const model = {
      ask: () => Promise.reject(new Error('nobody asks')),
      look: () => Promise.reject(new Error('nobody looks')),
    };
    worker = new SessionWorker({ pool, store, baselines: new BrowserBaselineStore(database), blobs, connections: new Connections({ database, keys, egress }), egress, logger, model, workerId: 'test', keys, views: new BrowserLiveViewStore(database) });
  });
  afterEach(() => {
    site.look = { ...PLAIN };
  });
  afterAll(async () => {
    await worker.close();
    await pool.close();
    await egress.close();
    await Promise.all([site.close(), test.drop()]);
    await rm(folder, { recursive: true, force: true });
  });

  const clock = { testId: 'clock' };
  const flow = (compare: object = {}, more: Partial<FlowDraft> = {}): FlowDraft => ({ name: 'cart', stepSeconds: 20, steps: [{ do: 'navigate', url: site.url }, { do: 'compare', baseline: 'cart', mask: [clock], ...compare }], ...more });
  interface Played {
    readonly runId: string;
    readonly seq: number;
    /** What the comparing step left. */
    readonly step: StoredBrowserStep;
    readonly failure: unknown;
  }
  const play = async (org: string, draft: FlowDraft, id: string = randomUUID(), keyId?: string): Promise<Played> => {
    const runId = formatRunId({ operation: 'browser', uuid: id, ...(keyId === undefined ? {} : { keyId }) });
    await expect.poll(() => worker.claim({ orgId: org, id }, 30_000)).toBe(true);
    const failure: unknown = await worker.work({ orgId: org, id, runId }, flowSchema.parse(draft), {}, new AbortController().signal, () => undefined).then(() => undefined, (error: unknown) => error);
    await worker.release(id);
    const step = (await store.steps(org, id, 100)).findLast(({ verb }) => verb === 'compare');
    if (step === undefined) throw failure;
    return { runId, seq: step.seq, step, failure };
  };
  const pngOf = async (org: string, reference: string | null): Promise<PNG> => {
    if (!isBlobRef(reference)) throw new Error('there is no picture');
    return PNG.sync.read(await blobs.get(org, reference));
  };
  const stored = async (org: string): Promise<number> => {
    let count = 0;
    for await (const _reference of blobs.list(org)) count += 1;
    return count;
  };

  it('makes the first picture the baseline, and passes as long as the page looks the same', async () => {
    const org = await test.organisation();
    const first = await play(org, flow());
    expect(first).toMatchObject({ failure: undefined, step: { outcome: 'done', comparison: { name: 'cart', viewport: '1280x800@1', outcome: 'created', size: { width: 1280, height: 800 }, baselineSize: null, different: 0, most: 0 }, baseline: null, difference: null } });
    const second = await play(org, flow());
    expect(second).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'same', different: 0, baselineSize: { width: 1280, height: 800 } }, difference: null } });
    const caller = systemCaller(org, 'test');
    const [baseline, ...others] = await baselines.list(caller, {}, 10);
    expect(others).toEqual([]);
    expect(baseline).toMatchObject({ flow: 'cart', name: 'cart', viewport: '1280x800@1', width: 1280, height: 800, accepted: false, runId: first.runId });
    const png = PNG.sync.read(await baselines.picture(caller, baseline?.id ?? ''));
    // The clock is covered.
    const covered = [...Array(png.width * png.height).keys()].filter((at) => png.data.readUInt32BE(at * 4) === 0xff_00_ff_ff).length;
    expect(covered).toBeGreaterThan(3000);
  });

  it('fails with the numbers when a colour changed, keeps page, baseline and difference, and passes once the new picture is accepted', async () => {
    const org = await test.organisation();
    const caller = systemCaller(org, 'test');
    await play(org, flow());
    site.look = { ...PLAIN, colour: '#a4161a' };
    const changed = await play(org, flow());
    const { comparison, actual, baseline, difference } = changed.step;
    expect(comparison).toMatchObject({ outcome: 'differs', most: 0 });
    expect(comparison?.different).toBeGreaterThan(1000);
    expect(changed.failure).toMatchObject({ type: 'PictureDiffers', message: `steps/1 (compare): the picture "cart" differs from its baseline: ${String(comparison?.different)} of 1024000 pixels differ, 0 may` });
    const [now, before, between] = await Promise.all([pngOf(org, actual), pngOf(org, baseline), pngOf(org, difference)]);
    const red = [...Array(between.width * between.height).keys()].filter((at) => between.data.readUInt32BE(at * 4) === 0xff_00_00_ff);
    expect(red).toHaveLength(comparison?.different ?? 0);
    const at = (red[Math.floor(red.length / 2)] ?? 0) * 4;
    expect(now.data.readUInt32BE(at)).toBe(0xa4_16_1a_ff);
    expect(before.data.readUInt32BE(at)).toBe(0x1d_6f_42_ff);

    await expect(baselines.accept(caller, changed.runId, changed.seq)).resolves.toMatchObject({ accepted: true, runId: changed.runId });
    expect(await baselines.list(caller, {}, 10)).toHaveLength(1);
    expect(await play(org, flow())).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'same', different: 0 } } });
    // What was the baseline then is still in the evidence.
    expect((await pngOf(org, baseline)).data.equals(before.data)).toBe(true);
    site.look = { ...PLAIN };
    expect(await play(org, flow())).toMatchObject({ failure: { type: 'PictureDiffers' } });
    const { rows } = await sql<{ action: string }>`select action from audit_acts where org_id = ${org}`.execute(test.database.system);
    expect(rows.map(({ action }) => action)).toEqual(['browser.baseline']);
  });

  it('fails when something moved, unless as much may differ', async () => {
    const org = await test.organisation();
    await play(org, flow());
    site.look = { ...PLAIN, left: 52 };
    const { step, failure } = await play(org, flow());
    expect(failure).toMatchObject({ type: 'PictureDiffers' });
    const different = step.comparison?.different ?? 0;
    expect(different).toBeGreaterThan(100);
    expect(await play(org, flow({ maxDifferentPixels: different }))).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'same', different, most: different } } });
    expect(await play(org, flow({ maxDifferentPixels: different - 1 }))).toMatchObject({ failure: { type: 'PictureDiffers' } });
    expect(await play(org, flow({ maxDifferentRatio: 0.5 }))).toMatchObject({ failure: undefined, step: { comparison: { most: 512_000 } } });
    expect(await play(org, flow({ maxDifferentRatio: 0.5, maxDifferentPixels: 1 }))).toMatchObject({ failure: { type: 'PictureDiffers' }, step: { comparison: { most: 1 } } });
  });

  it('waits for a page that stands still, and says so of one that never does', async () => {
    const org = await test.organisation();
    const { failure } = await play(org, flow({ mask: [], timeoutSeconds: 3 }));
    expect(failure).toMatchObject({ type: 'StepFailed', message: expect.stringContaining('the page does not stand still') as string });
    expect(await baselines.list(systemCaller(org, 'test'), {}, 10)).toEqual([]);
    // The animation without end is at its beginning, the caret is hidden, and the element alone has no clock.
    expect(await play(org, flow({ mask: [], of: { role: 'button' }, baseline: 'button' }))).toMatchObject({ failure: undefined, step: { target: 'button', comparison: { outcome: 'created' } } });
  });

  it('has a baseline for each size of the window, of a page and of an element, and a larger page is another one', async () => {
    const org = await test.organisation();
    await play(org, flow({ fullPage: true }));
    const small = { viewport: { width: 600, height: 500 } };
    expect(await play(org, flow({ fullPage: true }, small))).toMatchObject({ failure: undefined, step: { comparison: { viewport: '600x500@1', outcome: 'created' } } });
    expect((await baselines.list(systemCaller(org, 'test'), { flow: 'cart' }, 10)).map(({ viewport }) => viewport).sort()).toEqual(['1280x800@1', '600x500@1']);
    site.look = { ...PLAIN, text: 'Three items<br>and<br>more<br>lines<br>than<br>fit<br>into<br>the<br>window' };
    const { failure, step } = await play(org, flow({ fullPage: true, maxDifferentRatio: 1 }, small));
    expect(failure).toMatchObject({ type: 'PictureDiffers', message: expect.stringMatching(/it is 600 x \d+ and its baseline 600 x 500 pixels/) as string });
    expect(step.comparison?.baselineSize).toEqual({ width: 600, height: 500 });
    expect((await pngOf(org, step.difference)).height).toBe(step.comparison?.size.height);
  });

  it('wants a baseline that somebody accepted where the flow says so', async () => {
    const org = await test.organisation();
    const { runId, seq, failure } = await play(org, flow({ ifNew: 'fail' }));
    expect(failure).toMatchObject({ type: 'StepFailed', message: expect.stringContaining('there is no baseline "cart" of 1280x800@1') as string });
    await baselines.accept(systemCaller(org, 'test'), runId, seq);
    expect(await play(org, flow({ ifNew: 'fail' }))).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'same' } } });
  });

  it('that is taken again after a crash finds the baseline that it made itself', async () => {
    const org = await test.organisation();
    const id = randomUUID();
    expect(await play(org, flow(), id)).toMatchObject({ step: { comparison: { outcome: 'created' } } });
    expect(await play(org, flow(), id)).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'created' } } });
    expect(await play(org, flow())).toMatchObject({ step: { comparison: { outcome: 'same' } } });
  });

  it('keeps no picture but the baseline where the flow wants no evidence', async () => {
    const org = await test.organisation();
    const { runId, seq, step } = await play(org, flow({}, { evidence: 'none' }));
    expect(step).toMatchObject({ comparison: { outcome: 'created' }, actual: null, baseline: null, difference: null, picture: null });
    await expect(baselines.accept(systemCaller(org, 'test'), runId, seq)).rejects.toMatchObject({ type: 'Conflict' });
    const [baseline] = await baselines.list(systemCaller(org, 'test'), {}, 10);
    expect(isBlobRef(baseline?.picture) && (await blobs.get(org, baseline.picture)).length).toBeGreaterThan(1000);
  });

  it('knows no baseline of another organisation, and none that was deleted', async () => {
    const [org, stranger] = [await test.organisation(), await test.organisation()];
    await play(org, flow());
    const [baseline] = await baselines.list(systemCaller(org, 'test'), {}, 10);
    const id = baseline?.id ?? '';
    const other = systemCaller(stranger, 'test');
    expect(await baselines.list(other, {}, 10)).toEqual([]);
    await expect(baselines.picture(other, id)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(baselines.remove(other, id)).rejects.toMatchObject({ type: 'NotFound' });
    site.look = { ...PLAIN, colour: '#000' };
    expect(await play(stranger, flow())).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'created' } } });
    const before = await stored(org);
    await baselines.remove(systemCaller(org, 'test'), id);
    expect(await stored(org)).toBe(before - 1);
    await expect(baselines.remove(systemCaller(org, 'test'), id)).rejects.toMatchObject({ type: 'NotFound' });
    expect(await play(org, flow())).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'created' } } });
  });

  it('keeps the picture of a person out of the evidence of runs about others', async () => {
    const org = await test.organisation();
    const [shown, other] = await Promise.all(['shown', 'other'].flatMap((user) => subjectHashes(keys, org, { user: [user] })).map((subject) => subjects.keyOf(org, subject)));
    await play(org, flow(), randomUUID(), shown);
    site.look = { ...PLAIN, colour: '#a4161a' };
    const about = async (keyId?: string): Promise<(string | null)[]> => {
      const { failure, step } = await play(org, flow(), randomUUID(), keyId);
      expect(failure).toMatchObject({ type: 'PictureDiffers' });
      expect(step.comparison).toMatchObject({ outcome: 'differs' });
      return [step.baseline, step.difference];
    };
    expect(await about(other)).toEqual([null, null]);
    expect(await about()).toEqual([null, null]);
    expect(await about(shown)).toEqual([expect.stringMatching(/^blob:/), expect.stringMatching(/^blob:/)]);
  });

  it('makes a new baseline of one whose bytes are gone', async () => {
    const org = await test.organisation();
    await play(org, flow());
    const [baseline] = await baselines.list(systemCaller(org, 'test'), {}, 10);
    if (isBlobRef(baseline?.picture)) await blobs.delete(org, baseline.picture);
    site.look = { ...PLAIN, colour: '#000' };
    expect(await play(org, flow())).toMatchObject({ failure: undefined, step: { comparison: { outcome: 'created' } } });
    expect(await play(org, flow())).toMatchObject({ step: { comparison: { outcome: 'same' } } });
    expect(await baselines.list(systemCaller(org, 'test'), {}, 10)).toHaveLength(1);
  });

  it('compares nothing that is too large', async () => {
    const org = await test.organisation();
    site.look = { ...PLAIN, text: '<div style="height: 13000px"></div>' };
    expect(await play(org, flow({ fullPage: true }))).toMatchObject({ failure: { type: 'StepFailed', message: expect.stringContaining('more than 16000000 are not compared') as string } });
  });
});
