import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { Contents, type Content } from '../../platform/content/contents.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createIpfsNode, findKubo, type IpfsNode } from '../environment/kubo.ts';

const kubo = await findKubo();
const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
const signal = new AbortController().signal;

describe.skipIf(kubo === undefined)('content on real nodes of IPFS', () => {
  let test: TestDatabase;
  let egress: Egress;
  let contents: Contents;
  let connections: Connections;
  let caller: Caller;
  let folder: string;
  let first: IpfsNode;
  let second: IpfsNode;
  beforeAll(async () => {
    [test, folder, first, second] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), 'hal9-content-')), createIpfsNode(kubo ?? ''), createIpfsNode(kubo ?? '')]);
    await Promise.all([first.start(), second.start()]);
    egress = new Egress({ allowPrivate: true });
    connections = new Connections({ database: test.database, keys, egress });
    contents = new Contents({ database: test.database, keys, subjects: new SubjectKeys({ database: test.database, keys }), connections, egress, folder });
    caller = systemCaller(await test.organisation(), 'test');
    for (const [name, { url }] of [['first', first], ['second', second]] as const) await connections.create(caller, { name, settings: { kind: 'ipfs', url, headers: {} } }, { test: true, signal });
  });
  afterAll(async () => {
    await Promise.all([first?.remove(), second?.remove()]);
    await egress?.close();
    await test?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  async function* pieces(bytes: Uint8Array, meanwhile: (at: number) => Promise<void> = async () => undefined): AsyncIterable<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 500_000) {
      yield bytes.subarray(at, at + 500_000);
      await meanwhile(at);
    }
  }
  const add = (bytes: Uint8Array, meanwhile?: (at: number) => Promise<void>): Promise<Content> => contents.add(caller, { mediaType: 'application/zip' }, pieces(bytes, meanwhile), signal);
  const read = async (id: string, meanwhile?: () => Promise<void>): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for await (const part of contents.read(caller, id, signal)) {
      parts.push(part);
      if (parts.length === 2) await meanwhile?.();
    }
    return Buffer.concat(parts);
  };
  const states = ({ pins }: Content): string[] => pins.map(({ provider, state }) => `${provider} ${state}`);
  const pinned = async (node: IpfsNode): Promise<string[]> => (await node.ipfs('pin', 'ls', '--type', 'recursive', '--quiet')).split('\n').filter((line) => line !== '');

  it('is kept by them under the identifiers that they give themselves, sealed, and let go of', async () => {
    const text = Buffer.from('canary of the content '.repeat(100_000));
    const kept = await add(text);
    expect(states(kept)).toEqual(['first pinned', 'second pinned']);
    for (const node of [first, second]) {
      expect(await pinned(node)).toContain(kept.root);
      const links = (await node.ipfs('refs', kept.root)).split('\n').filter((line) => line !== '');
      expect(links).toHaveLength(kept.blocks);
      expect(await node.ipfs('block', 'get', links[0] ?? '')).not.toContain('canary');
    }
    expect((await read(kept.id)).equals(text)).toBe(true);
    await contents.remove(caller, kept.id, signal);
    for (const node of [first, second]) expect(await pinned(node)).not.toContain(kept.root);
  });

  it('is read on from another when one is killed half-way, whichever it is', async () => {
    const bytes = randomBytes(4_500_000);
    const { id } = await add(bytes);
    for (const node of [first, second]) {
      expect((await read(id, () => node.kill())).equals(bytes)).toBe(true);
      await node.start();
    }
  });

  it('is kept by one when the other is killed half-way, which keeps it too once it is repaired', async () => {
    const bytes = randomBytes(4_500_000);
    const kept = await add(bytes, async (at) => {
      if (at === 2_000_000) await second.kill();
    });
    expect(states(kept)).toEqual(['first pinned', 'second failed']);
    await second.start();
    expect(await pinned(second)).not.toContain(kept.root);
    expect(states(await contents.repair(caller, kept.id, signal))).toEqual(['first pinned', 'second pinned']);
    expect(await pinned(second)).toContain(kept.root);
    await first.kill();
    expect((await read(kept.id)).equals(bytes)).toBe(true);
    await first.start();
  });

  it('is given back to one that lost its pin and collected the blocks', async () => {
    const bytes = randomBytes(2_500_000);
    const { id, root } = await add(bytes);
    await first.ipfs('pin', 'rm', root);
    await first.ipfs('repo', 'gc', '--quiet');
    expect(await first.ipfs('refs', 'local')).not.toContain(root);
    expect((await read(id)).equals(bytes)).toBe(true);
    expect(states(await contents.repair(caller, id, signal))).toEqual(['first pinned', 'second pinned']);
    await second.kill();
    expect((await read(id)).equals(bytes)).toBe(true);
    await second.start();
  });

  it('goes from HAL9 itself to nodes that were connected later', async () => {
    const later = systemCaller(await test.organisation(), 'test');
    const bytes = randomBytes(1_500_000);
    const kept = await contents.add(later, { mediaType: 'application/zip' }, pieces(bytes), signal);
    expect(states(kept)).toEqual(['(embedded) pinned']);
    await connections.create(later, { name: 'first', settings: { kind: 'ipfs', url: first.url, headers: {} } }, { test: true, signal });
    expect(states(await contents.repair(later, kept.id, signal))).toEqual(['(embedded) pinned', 'first pinned']);
    expect(await pinned(first)).toContain(kept.root);
  });
});
