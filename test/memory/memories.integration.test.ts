import { createHash, randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryActivities } from '../../activities/memory/index.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories, type MemoryQuestion } from '../../platform/memory/memories.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { memoryDraft, type MemoryDraft } from '../../schemas/memories/definition.ts';
import type { MemoryResult } from '../../schemas/operations/memory.ts';
import { startHttpServer } from '../environment/http-server.ts';
import { externalBench, neuronOf, signalOf, type ExternalBench } from '../external/bench.ts';

describe('memory', () => {
  let bench: ExternalBench;
  let memories: Memories;
  beforeAll(async () => {
    bench = await externalBench();
    memories = bench.memories;
  });
  afterAll(() => bench.close());

  const draft = (more: Partial<MemoryDraft> = {}): MemoryDraft => ({ kind: 'fact', topic: 'restart', content: { what: 'nothing' }, ...more });
  /** Writes them at times that differ: pages are ordered by the millisecond. */
  const told = async (caller: Caller, ...drafts: readonly MemoryDraft[]): Promise<void> => {
    for (const one of drafts) {
      const { createdAt } = await memories.remember(caller, one);
      while (Date.now() <= createdAt.getTime()) await setImmediate();
    }
  };
  const recalled = async (caller: Caller, question: MemoryQuestion, limit = 50) => (await memories.recall(caller, question, limit)).items.map(({ content }) => content['what']);
  const destroy = (caller: Caller, email: string) => bench.subjects.destroy(caller.orgId, subjectHashes(bench.keys, caller.orgId, { email: [email] }));

  it('is recalled by kind, topic, subject and words, newest first, and by nobody else', async () => {
    const [here, elsewhere] = [await bench.organisation(), await bench.organisation()];
    const all: MemoryDraft[] = [
      draft({ content: { what: 'Restart of web-1 helped' } }),
      draft({ kind: 'outcome', subject: 'host:web-1', content: { what: 'disk full again' } }),
      draft({ kind: 'outcome', subject: 'host:web-2', topic: 'disk', content: { what: 'disk full' } }),
    ];
    await told(here, ...all);
    await memories.remember(elsewhere, draft({ content: { what: 'theirs' } }));
    expect(await recalled(here, {})).toEqual(['disk full', 'disk full again', 'Restart of web-1 helped']);
    expect(await recalled(here, { kind: 'outcome' })).toEqual(['disk full', 'disk full again']);
    expect(await recalled(here, { topic: 'restart' })).toEqual(['disk full again', 'Restart of web-1 helped']);
    expect(await recalled(here, { subject: 'host:WEB-1 ' })).toEqual(['disk full again']);
    expect(await recalled(here, { subject: null })).toEqual(['Restart of web-1 helped']);
    expect(await recalled(here, { subject: 'host:web-3' })).toEqual([]);
    expect(await recalled(here, { text: 'HELPED restart' })).toEqual(['Restart of web-1 helped']);
    expect(await recalled(here, { text: 'restart failed' })).toEqual([]);
    // Words of what is about somebody are found only by who says about whom.
    expect(await recalled(here, { text: 'disk' })).toEqual([]);
    expect(await recalled(here, { text: 'disk', subject: 'host:web-2' })).toEqual(['disk full']);
    const first = await memories.recall(here, {}, 2);
    expect(await memories.recall(here, {}, 2, first.items[1])).toMatchObject({ items: [{ content: all[0]?.content }] });
    await expect(memories.recall(here, { text: '!?' }, 1)).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(memories.recall(here, { text: Array.from({ length: 51 }, (_, n) => `w${String(n)}`).join(' ') }, 1)).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(memories.recall(here, { subject: 'nobody' }, 1)).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('adds weights of evidence up, over all pages', async () => {
    const caller = await bench.organisation();
    await told(caller, ...[0.7, 1.5, -0.2].map((weight) => draft({ kind: 'evidence', topic: 'leak', weight })));
    await memories.remember(caller, draft({ kind: 'evidence', topic: 'other', weight: 9 }));
    const { items, weight } = await memories.recall(caller, { topic: 'leak' }, 1);
    expect([items.length, items[0]?.weight]).toEqual([1, -0.2]);
    expect(weight).toBeCloseTo(2, 9);
    expect((await memories.recall(caller, { topic: 'nothing' }, 1)).weight).toBe(0);
  });

  it('stands nowhere in the clear, and is proven by the hash of what is sealed', async () => {
    const caller = await bench.organisation();
    const memory = await memories.remember(caller, draft({ subject: 'email:canary@example.net', content: { what: 'canaryword' } }));
    const { sealed, ...read } = await memories.get(caller, memory.id);
    expect(read).toEqual(memory);
    expect(memory.digest).toBe(`0x${createHash('sha256').update(sealed).digest('hex')}`);
    const { rows: acts } = await sql<{ row: string }>`select row_to_json(a)::text as row from audit_acts a where org_id = ${caller.orgId}`.execute(bench.test.database.system);
    const { rows: stored } = await bench.test.database.withOrg(caller.orgId, (tx) => sql<{ row: string }>`select row_to_json(m)::text as row from memories m union all select row_to_json(w)::text from memory_words w`.execute(tx));
    expect([acts.length, stored.length]).toEqual([1, 2]);
    expect(acts[0]?.row).toContain('memory.write');
    for (const { row } of [...acts, ...stored]) for (const clear of ['canary', Buffer.from('canaryword').toString('hex')]) expect(row).not.toContain(clear);
  });

  it('goes with the key of whom it is about, in every process, and only that', async () => {
    const caller = await bench.organisation();
    const other = new Memories({ database: bench.test.database, keys: bench.keys, subjects: new SubjectKeys({ database: bench.test.database, keys: bench.keys }) });
    const ada = { subject: 'email:ada@example.net', weight: 1 };
    const { id } = await memories.remember(caller, draft({ ...ada, content: { what: 'of ada' } }));
    await memories.remember(caller, draft({ subject: 'email:bob@example.net', weight: 2, content: { what: 'of bob' } }));
    expect(await other.get(caller, id)).toMatchObject({ content: { what: 'of ada' } });
    expect(await destroy(caller, 'ada@example.net')).toBe(1);
    for (const process of [memories, other]) {
      await expect(process.get(caller, id)).rejects.toMatchObject({ type: 'NotFound' });
      expect(await process.recall(caller, { subject: ada.subject, text: 'ada' }, 5)).toMatchObject({ items: [], weight: 0 });
      expect(await process.recall(caller, {}, 5)).toMatchObject({ items: [{ content: { what: 'of bob' } }], weight: 2 });
    }
    // Whoever comes back has a new key, which opens nothing of before.
    await memories.remember(caller, draft({ ...ada, content: { what: 'back' } }));
    expect(await recalled(caller, { subject: ada.subject })).toEqual(['back']);
  });

  it('is forgotten one by one', async () => {
    const [caller, stranger] = [await bench.organisation(), await bench.organisation()];
    const { id } = await memories.remember(caller, draft({ content: { what: 'soon gone' } }));
    await expect(memories.forget(stranger, id)).rejects.toMatchObject({ type: 'NotFound' });
    await memories.forget(caller, id);
    await expect(memories.forget(caller, id)).rejects.toMatchObject({ type: 'NotFound' });
    expect(await recalled(caller, { text: 'soon' })).toEqual([]);
    expect((await bench.test.database.withOrg(caller.orgId, (tx) => sql<{ n: number }>`select count(*)::int as n from memory_words`.execute(tx))).rows).toEqual([{ n: 0 }]);
  });

  it('is written once for each run of its operation', async () => {
    const { orgId } = await bench.organisation();
    const uuid = randomUUID();
    const environment = () => new MockActivityEnvironment({ workflowExecution: { workflowId: `${orgId}/memory/${uuid}`, runId: randomUUID() } });
    const activities = createMemoryActivities({ memories });
    const input = memoryDraft.parse({ topic: 'restart', subject: 'host:web-1', content: { what: 'learned' }, weight: 0.5 });
    const remember = (): Promise<MemoryResult> => environment().run((of: MemoryDraft) => activities.remember(of), input);
    const [first, again] = [await remember(), await remember()];
    expect(first).toEqual({ memory: uuid, digest: expect.stringMatching(/^0x[0-9a-f]{64}$/) as string });
    expect(again).toEqual(first);
    expect(await memories.recall({ orgId }, {}, 5)).toMatchObject({ items: [{ id: uuid, digest: first.digest, writtenBy: 'system:memory' }], weight: 0.5 });
  });

  it('refuses what is too long or about nothing', () => {
    expect(memoryDraft.safeParse({ topic: 'a', content: { text: 'x'.repeat(16_373) } }).success).toBe(true);
    expect(memoryDraft.safeParse({ topic: 'a', content: { text: 'x'.repeat(16_374) } }).success).toBe(false);
    for (const subject of ['ada', 'email:', ':x', 'email: ']) expect([subject, memoryDraft.safeParse({ topic: 'a', subject, content: {} }).success]).toEqual([subject, false]);
  });

  describe('of neurons', () => {
    /** No socket is used twice: one that idled might be closed just as it is. */
    const listening = () => startHttpServer((_, response) => response.writeHead(200, { 'content-type': 'application/json', 'connection': 'close' }).end('{}'));
    const asking = (url: string, recall: Record<string, unknown>) => neuronOf({ kind: 'http', url, body: '{"known": memory.items.map(m, m.content.what), "weight": memory.weight, "about": signal.subject}', recall, rules: [{ when: 'answer.status == 200', decide: { summary: '"s"', reason: '"r"' } }] });

    it('reaches what they ask: what is about nobody, or about whom they name', async () => {
      const caller = await bench.organisation();
      const server = await listening();
      await memories.remember(caller, draft({ content: { what: 'of nobody' }, weight: 0.25 }));
      await memories.remember(caller, draft({ subject: 'host:web-1', content: { what: 'of web-1' }, weight: 2 }));
      await memories.remember(caller, draft({ subject: 'host:web-2', content: { what: 'of web-2' } }));
      const bodies = async (recall: Record<string, unknown>): Promise<unknown> => {
        expect((await bench.call(caller, asking(server.url, recall), signalOf({}))).outcome).toMatchObject({ fallback: false });
        return JSON.parse(server.received.at(-1)?.body ?? '');
      };
      expect(await bodies({ topic: 'restart' })).toEqual({ known: ['of nobody'], weight: 0.25, about: 'web-1' });
      expect(await bodies({ topic: 'restart', subject: '"host:" + signal.subject' })).toEqual({ known: ['of web-1'], weight: 2, about: 'web-1' });
      expect(await bodies({ topic: 'never' })).toEqual({ known: [], weight: 0, about: 'web-1' });
      const asked = server.received.length;
      expect((await bench.call(caller, asking(server.url, { topic: 'restart', subject: 'signal.subject' }), signalOf({}))).outcome).toMatchObject({ fallback: true });
      expect(server.received).toHaveLength(asked);
      await server.close();
    });

    it('stays under the key of whom it is about, in what is kept of the call too', async () => {
      const caller = await bench.organisation();
      const server = await listening();
      await memories.remember(caller, draft({ subject: 'email:eve@example.net', content: { what: 'of eve' } }));
      const neuron = asking(server.url, { topic: 'restart', subject: '"email:eve@example.net"' });
      const { context } = await bench.call(caller, neuron, signalOf({}));
      if (!isBlobRef(context)) throw new TypeError('nothing was kept');
      expect((await bench.blobs.get(caller.orgId, context)).toString()).toContain('of eve');
      await destroy(caller, 'eve@example.net');
      await expect(bench.blobs.get(caller.orgId, context)).rejects.toMatchObject({ type: 'NotFound' });
      await server.close();
    });
  });
});
