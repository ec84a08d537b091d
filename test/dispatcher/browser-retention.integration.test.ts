import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import type { BlobRef, BlobStore } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createBrowserRetention } from '../../workers/dispatcher/browser.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

describe('browser sessions that have had their time', () => {
  const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
  let test: TestDatabase;
  let folder: string;
  let store: BrowserSessionStore;
  let blobs: BlobStore;
  beforeAll(async () => {
    test = await createTestDatabase();
    folder = await mkdtemp(join(tmpdir(), 'hal9-evidence-'));
    store = new BrowserSessionStore(test.database);
    blobs = createBlobStore(config(), keys);
  });
  afterAll(async () => {
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const config = () => loadConfig({ HAL9_DATA: folder, DATABASE_URL: test.url, HAL9_KEEP_EVIDENCE_DAYS: '20' });
  const run = () => createBrowserRetention({ config: config(), database: test.database, keys, logger: pino({ level: 'silent' }) }).run(new AbortController().signal);
  const isThere = (orgId: string, ref: BlobRef): Promise<boolean> => blobs.get(orgId, ref).then(() => true, () => false);
  const left = async (orgId: string, id: string): Promise<{ state: string; steps: number } | undefined> => {
    const { rows } = await sql<{ state: string; steps: number }>`select state, (select count(*)::int from browser_steps t where t.session_id = s.id) as steps from browser_sessions s where org_id = ${orgId} and id = ${id}`.execute(test.database.system);
    return rows[0];
  };

  /** A session with a step for each picture; closed so many days ago, or not at all. */
  async function session(orgId: string, pictures: readonly BlobRef[], closedDaysAgo: number | null, snapshot: BlobRef | null = null, difference: BlobRef | null = null, files: readonly { direction: 'up' | 'down'; blob: BlobRef }[] = []): Promise<{ id: string; runId: string }> {
    const id = randomUUID();
    const runId = `browser~${id}`;
    await test.database.withOrg(orgId, async (tx) => {
      await sql`insert into browser_sessions (org_id, id, run_id, state, closed_at) values (${orgId}, ${id}, ${runId}, ${closedDaysAgo === null ? 'open' : 'done'}, ${closedDaysAgo === null ? null : sql`now() - make_interval(days => ${closedDaysAgo})`})`.execute(tx);
      for (const picture of pictures) await sql`insert into browser_steps (org_id, session_id, key, path, verb, outcome, url, started_at, ended_at, picture, snapshot, difference, files) values (${orgId}, ${id}, '0', 'steps/0', 'click', 'done', '', now(), now(), ${picture}, ${snapshot}, ${difference}, ${JSON.stringify(files)})`.execute(tx);
    });
    return { id, runId };
  }
  const runEnded = (orgId: string, runId: string, minutesAgo: number | null): Promise<unknown> =>
    sql`insert into runs (org_id, run_id, operation, origin, status, started_at, closed_at) values (${orgId}, ${runId}, 'browser', 'api', ${minutesAgo === null ? 'running' : 'terminated'}, now() - interval '1 day', ${minutesAgo === null ? null : sql`now() - make_interval(mins => ${minutesAgo})`})`.execute(test.database.system);

  it('go with their steps and pictures, but for a picture that another session shows', async () => {
    const orgId = await test.organisation();
    const [own, shared, kept] = [await blobs.put(orgId, Buffer.from('own')), await blobs.put(orgId, Buffer.from('shared')), await blobs.put(orgId, Buffer.from('kept'))];
    const [oldWords, youngWords] = [await blobs.put(orgId, Buffer.from('old words')), await blobs.put(orgId, Buffer.from('young words'))];
    const compared = await blobs.put(orgId, Buffer.from('how they differ'));
    const [handed, taken] = [await blobs.put(orgId, Buffer.from('handed over')), await blobs.put(orgId, Buffer.from('a result'))];
    const old = await session(orgId, [own, own, shared], 21, oldWords, compared, [{ direction: 'up', blob: handed }, { direction: 'down', blob: taken }]);
    const young = await session(orgId, [shared, kept], 19, youngWords);
    const open = await session(orgId, [kept], null);
    expect(await run()).toBe(true);
    expect(await left(orgId, old.id)).toBeUndefined();
    expect(await left(orgId, young.id)).toEqual({ state: 'done', steps: 2 });
    expect(await left(orgId, open.id)).toEqual({ state: 'open', steps: 1 });
    expect(await Promise.all([own, shared, kept, oldWords, youngWords, compared, handed, taken].map((ref) => isThere(orgId, ref)))).toEqual([false, true, true, false, true, false, false, true]);
    expect(await run()).toBe(false);
  });

  it('go all, a bounded part at a time', async () => {
    const orgId = await test.organisation();
    const old = await Promise.all(Array.from({ length: 23 }, () => session(orgId, [], 400)));
    let passes = 0;
    while (await run()) passes += 1;
    expect(passes).toBeGreaterThan(1);
    expect((await Promise.all(old.map(({ id }) => left(orgId, id)))).filter((each) => each !== undefined)).toEqual([]);
  });

  it('go earlier where the plan keeps less, and nobody else\'s do', async () => {
    const [free, other] = [await test.organisation(), await test.organisation()];
    await test.database.system.insertInto('organisation_plans').values({ org_id: free, plan: 'free', overrides: JSON.stringify({ limits: { retentionDays: 5 } }), updated_by: 'test' }).execute();
    const [theirs, others] = [await session(free, [], 6), await session(other, [], 6)];
    expect(await run()).toBe(true);
    expect([await left(free, theirs.id), await left(other, others.id)]).toEqual([undefined, { state: 'done', steps: 0 }]);
  });

  it('are ended, with the login and the answers they left, when their run was terminated', async () => {
    const orgId = await test.organisation();
    const sessions = await Promise.all([session(orgId, [], null), session(orgId, [], null), session(orgId, [], null)]);
    const [terminated, ending, running] = sessions;
    await runEnded(orgId, terminated?.runId ?? '', 11);
    await runEnded(orgId, ending?.runId ?? '', 1);
    await runEnded(orgId, running?.runId ?? '', null);
    const kept = await Promise.all(sessions.map(async ({ id, runId }) => {
      const hold = { orgId, id, fence: (await store.takeUp(orgId, { id, runId, flow: null, worker: 'test' })).fence };
      const [login, answer, proposal] = [await blobs.put(orgId, Buffer.from(`login ${id}`)), await blobs.put(orgId, Buffer.from(`answer ${id}`)), await blobs.put(orgId, Buffer.from(`proposal ${id}`))];
      await store.checkpoint(hold, { reference: login, over: [], workedMs: 0 }, []);
      await store.answer(hold, { turnId: randomUUID(), failure: null, answer, needed: 0 });
      await store.propose(hold, '0', proposal);
      return [login, answer, proposal];
    }));
    expect(await run()).toBe(true);
    expect(await Promise.all(sessions.map(async ({ id }) => (await left(orgId, id))?.state))).toEqual(['cancelled', 'open', 'open']);
    expect((await store.ofRun(orgId, terminated?.runId ?? ''))[0]?.checkpoint).toBeNull();
    expect(await Promise.all(kept.map((refs) => Promise.all(refs.map((ref) => isThere(orgId, ref)))))).toEqual([[false, false, false], [true, true, true], [true, true, true]]);
    expect(await run()).toBe(false);
  });

  it('are emptied of logins, answers and pictures of the live page where whoever ended them was cut off', async () => {
    const orgId = await test.organisation();
    const views = new BrowserLiveViewStore(test.database);
    const sessions = await Promise.all([session(orgId, [], null), session(orgId, [], null), session(orgId, [], null)]);
    const kept = await Promise.all(sessions.map(async ({ id, runId }, index) => {
      const hold = { orgId, id, fence: (await store.takeUp(orgId, { id, runId, flow: null, worker: 'test' })).fence };
      const [login, answer, proposal] = [await blobs.put(orgId, Buffer.from(`login ${id}`)), await blobs.put(orgId, Buffer.from(`answer ${id}`)), await blobs.put(orgId, Buffer.from(`proposal ${id}`))];
      if (index !== 1) await store.checkpoint(hold, { reference: login, over: [], workedMs: 0 }, []);
      await store.answer(hold, { turnId: randomUUID(), failure: null, answer, needed: 0 });
      await store.propose(hold, '0', proposal);
      await views.show(orgId, id, { picture: Buffer.from('page'), width: 1, height: 1, attended: true });
      await store.close(orgId, id, 'done');
      return index === 1 ? [answer, proposal] : [login, answer, proposal];
    }));
    // The last one is being ended at this moment.
    await test.database.withOrg(orgId, (tx) => sql`update browser_sessions set closed_at = now() - interval '11 minutes' where org_id = ${orgId} and id <> ${sessions[2]?.id ?? ''}`.execute(tx));
    // The first was cut off after the first blob.
    await blobs.delete(orgId, kept[0]?.[0] ?? 'blob:none');
    expect(await run()).toBe(true);
    expect(await Promise.all(kept.map((refs) => Promise.all(refs.map((ref) => isThere(orgId, ref)))))).toEqual([[false, false, false], [false, false], [true, true, true]]);
    expect(await Promise.all(sessions.map(async ({ id }) => [(await left(orgId, id))?.state, (await store.leftBy(orgId, id)).length, (await views.frame(orgId, id, 0)) === undefined]))).toEqual([['done', 0, true], ['done', 0, true], ['done', 3, false]]);
    expect(await run()).toBe(false);
  });
});
