import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { ERASED, EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { SubjectKeyDestroyed, SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { parseRunId, workflowSubjectKey } from '../../schemas/names/workflow-id.ts';
import { parseSubject } from '../../schemas/operations/operation.ts';
import { serveProject, type ServedProject } from '../operations/project.ts';
import { createIngest } from '../signals/ingest-setup.ts';

const ADA = { kind: 'email', value: 'ada@example.net' };

describe('keys of people', () => {
  let project: ServedProject;
  beforeAll(async () => {
    project = await serveProject();
  });
  afterAll(() => project.close());

  const caller = async () => ({ ...systemCaller(await project.test.organisation(), 'test'), scopes: ['*'] });
  const subjects = (): SubjectKeys => new SubjectKeys({ database: project.test.database, keys: project.keys });
  const hashOf = (orgId: string, value: string) => subjectHashes(project.keys, orgId, { email: [value] });

  it('seal the whole run of a person, and with the key the run is erased', async () => {
    const who = await caller();
    const { runId, workflowId } = await project.operations.start(who, { operation: 'greet', input: { name: 'Canary Lovelace' }, origin: 'api', subject: ADA });
    const key = parseRunId(runId)?.keyId ?? '';
    expect(workflowSubjectKey(workflowId)).toBe(key);
    expect(await project.operations.result(who, runId, 30_000)).toMatchObject({ status: 'completed', result: expect.objectContaining({ greeting: expect.stringContaining('Canary') }) });
    const handle = project.temporal.client.workflow.getHandle(workflowId);
    const payloads = ((await handle.fetchHistory()).events ?? []).flatMap(({ workflowExecutionStartedEventAttributes: a, workflowExecutionCompletedEventAttributes: b, activityTaskScheduledEventAttributes: c }) => [...(a?.input?.payloads ?? []), ...(b?.result?.payloads ?? []), ...(c?.input?.payloads ?? [])]);
    const keyIds = payloads.map(({ metadata }) => Buffer.from(metadata?.['encryption-key-id'] ?? []).toString());
    expect(keyIds.length).toBeGreaterThan(2);
    expect(new Set(keyIds)).toEqual(new Set([key]));
    expect((await new EncryptionCodec(project.keys, subjects()).decode(payloads)).map(({ data }) => Buffer.from(data ?? []).toString()).join()).toContain('Canary');
    // The same person has the same key, however it is written; another has another.
    const again = await project.operations.start(who, { operation: 'greet', input: { name: 'A' }, origin: 'api', subject: { kind: 'email', value: ' ADA@example.net ' } });
    expect(parseRunId(again.runId)?.keyId).toBe(key);
    const other = await project.operations.start(who, { operation: 'greet', input: { name: 'B' }, origin: 'api', subject: { kind: 'email', value: 'bob@example.net' } });
    expect(parseRunId(other.runId)?.keyId).not.toBe(key);
    await project.operations.result(who, again.runId, 30_000);

    expect(await subjects().destroy(who.orgId, hashOf(who.orgId, ADA.value))).toBe(1);
    expect(await subjects().destroy(who.orgId, hashOf(who.orgId, ADA.value))).toBe(0);
    const decoded = (await new EncryptionCodec(project.keys, subjects()).decode(payloads)).map(({ data }) => Buffer.from(data ?? []).toString());
    expect(new Set(decoded)).toEqual(new Set([JSON.stringify(ERASED)]));
    // Nothing is written under it any more, and whoever comes again gets a new one.
    await expect(new EncryptionCodec(project.keys, subjects()).encode(payloads, { type: 'workflow', namespace: 'default', workflowId })).rejects.toBeInstanceOf(SubjectKeyDestroyed);
    const later = await project.operations.start(who, { operation: 'greet', input: { name: 'C' }, origin: 'api', subject: ADA });
    expect(parseRunId(later.runId)?.keyId).not.toBe(key);
    await expect.poll(async () => (await project.operations.result(who, runId, 0)).status).toBe('completed');
  });

  it('keep a start with an Idempotency-Key one run, and refuse two people for one run', async () => {
    const who = await caller();
    const start = () => project.operations.start(who, { operation: 'greet', input: { name: 'A' }, origin: 'api', subject: ADA, idempotencyKey: 'once' });
    const [first, second] = [await start(), await start()];
    expect([first.created, second.created, second.runId]).toEqual([true, false, first.runId]);
    expect(parseSubject('email:ada@example.net')).toEqual(ADA);
    for (const text of ['ada@example.net', ':x', 'email:', '']) expect(parseSubject(text)).toBeUndefined();
  });

  it('seal blobs, which are gone with the key', async () => {
    const { orgId } = await caller();
    const folder = await mkdtemp(join(tmpdir(), 'hal9-subject-blobs-'));
    try {
      const [subject = Buffer.alloc(0)] = hashOf(orgId, ADA.value);
      const key = await subjects().keyOf(orgId, subject);
      const blobs = createBlobStore({ HAL9_DATA: folder }, project.keys, subjects());
      const [theirs, nobodys] = [await blobs.put(orgId, Buffer.from('a picture'), key), await blobs.put(orgId, Buffer.from('a picture'))];
      expect(theirs).not.toBe(nobodys);
      expect((await blobs.get(orgId, theirs)).toString()).toBe('a picture');
      await subjects().destroy(orgId, [subject]);
      await expect(createBlobStore({ HAL9_DATA: folder }, project.keys, subjects()).get(orgId, theirs)).rejects.toMatchObject({ type: 'NotFound', message: expect.stringContaining('erased') });
      expect((await blobs.get(orgId, nobodys)).toString()).toBe('a picture');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('note whom a signal is about as a keyed hash', async () => {
    const who = await caller();
    const { receiver, ingest } = createIngest(project.test);
    const signal = { source: 's', type: 't', hal9subject: 'email:ada@example.net' };
    await receiver.one(who, { id: '1', ...signal }, { defaultSpecversion: true });
    await receiver.batch(who, Array.from({ length: 150 }, (_, at) => ({ id: `b${at}`, ...signal, ...(at === 0 ? { hal9subject: 'email:bob@example.net' } : {}) })), { defaultSpecversion: true });
    await expect(receiver.one(who, { id: '2', ...signal, hal9subject: 'nobody' }, { defaultSpecversion: true })).rejects.toMatchObject({ type: 'InvalidInput' });
    await ingest.close();
    const { rows } = await project.test.database.withOrg(who.orgId, (tx) => sql<{ subject: Buffer; signals: number }>`select subject, count(*)::int as signals from signal_subjects join signals using (org_id, key) group by subject order by 2`.execute(tx));
    expect(rows.map(({ signals }) => signals)).toEqual([1, 150]);
  });
});
