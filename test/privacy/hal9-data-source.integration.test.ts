import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAllSources, type AllSources } from '../../activities/privacy/all-sources.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { decodeHistory } from '../../platform/codec/history-decoding.ts';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { DataSource, ExportedRecords, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { Memories } from '../../platform/memory/memories.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import { serveProject, type ServedProject } from '../operations/project.ts';
import { createIngest } from '../signals/ingest-setup.ts';

const CANARY = 'canary-7@example.net';
const BOB = 'bob-7@example.net';

/** All text in a decoded history. */
function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.values(value).map((member) => textOf(member)).join('\n');
}

describe('HAL9 as a source of personal data', () => {
  let project: ServedProject;
  let sources: AllSources;
  beforeAll(async () => {
    project = await serveProject();
    sources = await openAllSources({ config: project.config, database: project.test.database, keys: project.keys });
  });
  afterAll(async () => {
    await sources.close();
    await project.close();
  });

  const arrive = async (): Promise<Caller> => ({ ...systemCaller(await project.test.organisation(), 'test'), scopes: ['*'] });
  const inquire = (orgId: string, email = CANARY): SubjectInquiry => ({ orgId, requestId: randomUUID(), identities: { email: [email] }, subjects: subjectHashes(project.keys, orgId, { email: [email] }), maskKey: randomBytes(32), holds: [], signal: new AbortController().signal });
  const own = async (orgId: string): Promise<DataSource> => {
    const source = (await sources.of(orgId)).find(({ id }) => id === 'hal9');
    if (source === undefined) throw new TypeError('HAL9 is always a source');
    return source;
  };
  const start = (caller: Caller, name: string, more: { subject?: string; waitFor?: boolean } = {}) =>
    project.operations.start(caller, { operation: 'greet', input: { name, ...(more.waitFor === undefined ? {} : { waitFor: more.waitFor }) }, origin: 'api', tags: [], ...(more.subject === undefined ? {} : { subject: { kind: 'email', value: more.subject } }) });
  const ended = (caller: Caller, runId: string) => expect.poll(async () => (await project.operations.result(caller, runId, 5_000)).status).not.toBe('running');
  /** All that Temporal keeps of the organisation, decoded with the keys that are left. */
  const histories = async (orgId: string): Promise<string> => {
    const codec = new EncryptionCodec(project.keys, new SubjectKeys({ database: project.test.database, keys: project.keys }));
    let all = '';
    for await (const { workflowId, runId } of project.temporal.client.workflow.list({ query: `OrgId = '${orgId}'` })) {
      const history = await project.temporal.client.workflow.getHandle(workflowId, runId).fetchHistory();
      await decodeHistory(history, codec);
      all += textOf(history);
    }
    return all.toLowerCase();
  };
  /** Waits until Temporal lists what was started. */
  const listed = (orgId: string, runs: number) => expect.poll(async () => (await project.temporal.client.workflow.count(`OrgId = '${orgId}'`)).count).toBe(runs);

  it('forgets a person in histories, signals, decisions, blobs, browser evidence and personal fields, and nobody else', async () => {
    const caller = await arrive();
    const { orgId } = caller;
    const source = await own(orgId);
    // The person's: one run that ended, one that is open, one that nobody said is about them.
    const [done, waiting, undeclared, bobs] = [await start(caller, CANARY, { subject: CANARY }), await start(caller, CANARY, { subject: CANARY, waitFor: true }), await start(caller, `Dear ${CANARY.toUpperCase()}`), await start(caller, BOB, { subject: BOB })];
    for (const { runId } of [done, undeclared, bobs]) await ended(caller, runId);
    await listed(orgId, 4);
    const { receiver, ingest } = createIngest(project.test);
    const told = await receiver.batch(caller, [
      { id: '1', source: 'shop', type: 't', hal9subject: `email:${CANARY}`, data: 'names nobody' },
      { id: '2', source: 'shop', type: 't', data: { mail: CANARY } },
      { id: '3', source: 'shop', type: 't', data: { mail: BOB } },
    ], { defaultSpecversion: true });
    await ingest.close();
    const subjects = new SubjectKeys({ database: project.test.database, keys: project.keys });
    const blobs = createBlobStore(project.config, project.keys, subjects);
    const [compared, baseline, bobsBaseline] = [await blobs.put(orgId, randomBytes(64)), await blobs.put(orgId, randomBytes(64)), await blobs.put(orgId, randomBytes(64))];
    const [loose, picture, snapshot, kept] = [await blobs.put(orgId, Buffer.from(`to ${CANARY}`)), await blobs.put(orgId, randomBytes(64), parseRunId(done.runId)?.keyId), await blobs.put(orgId, randomBytes(64), parseRunId(done.runId)?.keyId), await blobs.put(orgId, Buffer.from(`to ${BOB}`))];
    const memories = new Memories({ database: project.test.database, keys: project.keys, subjects });
    const [about, naming, bobsMemory] = [await memories.remember(caller, { kind: 'fact', topic: 'likes', subject: `email:${CANARY}`, content: { likes: 'tea' } }), await memories.remember(caller, { kind: 'outcome', topic: 'likes', content: { asked: CANARY } }), await memories.remember(caller, { kind: 'fact', topic: 'likes', subject: `email:${BOB}`, content: { likes: BOB } })];
    const session = randomUUID();
    await project.test.database.withOrg(orgId, async (tx) => {
      // The read model of runs is a projector's, which this test does not run.
      await sql`insert into browser_sessions (org_id, id, run_id) values (${orgId}, ${session}, ${done.runId})`.execute(tx);
      await sql`insert into browser_steps (org_id, session_id, key, path, verb, outcome, url, started_at, ended_at, picture, snapshot, difference) values (${orgId}, ${session}, 'k', '0', 'click', 'done', 'https://x.example', now(), now(), ${picture}, ${snapshot}, ${compared})`.execute(tx);
      await sql`insert into browser_baselines (org_id, id, flow, name, viewport, width, height, picture, run_id, step_key) values (${orgId}, ${randomUUID()}, 'shop', 'cart', '1x1@1', 1, 1, ${baseline}, ${done.runId}, '0'), (${orgId}, ${randomUUID()}, 'shop', 'account', '1x1@1', 1, 1, ${bobsBaseline}, ${bobs.runId}, '0')`.execute(tx);
      await sql`insert into decisions (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, neuron_name, summary, reason, severity, event_time, causes, state) values (${orgId}, ${randomUUID()}, ${randomUUID()}, 'L2', 0, ${randomUUID()}, 1, 'n', 'rests on the first signal', 'r', 'info', now(), ${[told.ids[0]]}::uuid[], 'none')`.execute(tx);
      await sql`insert into invitations (org_id, id, token_hash, email, expires_at) values (${orgId}, ${randomUUID()}, ${randomBytes(32)}, ${CANARY}, now()), (${orgId}, ${randomUUID()}, ${randomBytes(32)}, ${BOB}, now())`.execute(tx);
    });
    await project.test.database.system.insertInto('audit_acts').values({ org_id: orgId, id: randomUUID(), action: 'x.y', result: 'succeeded', actor_kind: 'system', actor_id: 'test', impersonator_id: null, resource_kind: 'x', resource_id: 'x', request_id: 'r', risk: 0, details: '{}', personal: JSON.stringify({ userName: CANARY }) }).execute();
    await expect.poll(async () => (await sql<{ n: number }>`select count(*)::int as n from runs where org_id = ${orgId}`.execute(project.test.database.system)).rows[0]?.n).toBe(4);
    expect(await histories(orgId)).toContain(CANARY);

    const inquiry = inquire(orgId);
    const plan = await source.plan(inquiry);
    expect(plan.refusals).toEqual([]);
    const planned = Object.fromEntries(plan.tables.map(({ table, rows }) => [table, rows]));
    expect(planned).toMatchObject({ signals: 2, decisions: 1, browser_steps: 1, browser_baselines: 1, invitations: 1, audit_acts: 1, temporal_histories: 3, blobs: 5, subject_keys: 1, memories: 2 });
    const exported: ExportedRecords[] = [];
    for await (const portion of source.export(inquiry)) exported.push(portion);
    expect(JSON.stringify(exported)).toContain(CANARY);
    expect(JSON.stringify(exported)).not.toContain(BOB);
    expect(exported.filter(({ table }) => table === 'memories').flatMap(({ rows }) => rows)).toEqual(expect.arrayContaining([expect.objectContaining({ content: { likes: 'tea' } })]));
    expect((await source.rescan(inquiry)).length).toBeGreaterThan(4);

    const changed = new Map<string, number>();
    await source.erase(inquiry, async (tables) => {
      for (const table of tables) changed.set(table.table, (changed.get(table.table) ?? 0) + table.changed);
    });
    expect(Object.fromEntries(changed)).toMatchObject({ ...planned });
    // A worker may still report how far a run was that was just closed: the operation makes another pass then.
    await expect
      .poll(async () => {
        const found = await source.rescan(inquiry);
        if (found.length > 0) await source.erase(inquiry, () => Promise.resolve());
        return found;
      })
      .toEqual([]);
    expect((await source.plan(inquiry)).tables).toEqual([]);
    // Looked for by other means: histories, rows, blobs.
    const left = await histories(orgId);
    expect(left).not.toContain(CANARY);
    expect(left).toContain(BOB);
    expect((await project.operations.result(caller, waiting.runId, 0)).status).not.toBe('running');
    const { rows } = await project.test.database.withOrg(orgId, (tx) => sql<{ envelope: string }>`select envelope from signals order by ordinal`.execute(tx));
    expect(rows.map(({ envelope }) => envelope.includes('hal9/erased'))).toEqual([true, true, false]);
    const { rows: decisions } = await project.test.database.withOrg(orgId, (tx) => sql<{ summary: string }>`select summary from decisions`.execute(tx));
    expect(decisions).toEqual([{ summary: 'erased' }]);
    for (const ref of [loose, picture, snapshot, compared, baseline]) await expect(blobs.get(orgId, ref)).rejects.toMatchObject({ type: 'NotFound' });
    expect((await blobs.get(orgId, kept)).toString()).toContain(BOB);
    expect(await blobs.get(orgId, bobsBaseline)).toHaveLength(64);
    for (const { id } of [about, naming]) await expect(memories.get(caller, id)).rejects.toMatchObject({ type: 'NotFound' });
    expect(await memories.get(caller, bobsMemory.id)).toMatchObject({ content: { likes: BOB } });
    expect((await project.operations.result(caller, bobs.runId, 5_000)).status).toBe('completed');
    // Again: nothing is left to change.
    const again: string[] = [];
    await source.erase(inquiry, async (tables) => void again.push(...tables.filter((table) => table.changed > 0).map(({ table }) => table)));
    expect(again).toEqual([]);
  }, 180_000);

  it('refuses before anything is destroyed: an account, a connection, an open run that nobody said is theirs', async () => {
    const caller = await arrive();
    const { orgId } = caller;
    const source = await own(orgId);
    const [user, { runId }] = [randomUUID(), await start(caller, CANARY, { waitFor: true })];
    await project.test.database.withOrg(orgId, (tx) => sql`insert into users (org_id, id, user_name, email) values (${orgId}, ${user}, 'someone', ${CANARY})`.execute(tx));
    await listed(orgId, 1);
    const inquiry = inquire(orgId);
    await expect.poll(async () => (await source.plan(inquiry)).refusals).toEqual([expect.stringContaining(`/v1/users/${user}`), expect.stringContaining(`the open run ${runId}`)]);
    await expect(source.erase(inquiry, () => Promise.resolve())).rejects.toMatchObject({ type: 'Conflict' });
    expect(await histories(orgId)).toContain(CANARY);
    await project.operations.terminate(caller, runId, 'test');
    await expect.poll(async () => (await source.plan(inquiry)).refusals.length).toBe(1);
  });
});
