import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import { OwnPersonalDataStore } from '../../database/own-personal-data.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { Contents, type Content } from '../../platform/content/contents.ts';
import { ContentRemains } from '../../platform/content/remains.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { HalError } from '../../schemas/errors.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { startKubo, startPinningService, type KuboNode, type PinningService } from './ipfs.ts';

const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
const egress = new Egress({ allowPrivate: true });
const TOKEN = 'pinning-token';
const signal = new AbortController().signal;

describe('content on IPFS', () => {
  let test: TestDatabase;
  let contents: Contents;
  let connections: Connections;
  let subjects: SubjectKeys;
  let caller: Caller;
  let nodes: KuboNode[];
  let service: PinningService;
  let folder: string;
  beforeAll(async () => {
    [test, folder] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), 'hal9-content-'))]);
    subjects = new SubjectKeys({ database: test.database, keys });
    connections = new Connections({ database: test.database, keys, egress });
    contents = new Contents({ database: test.database, keys, subjects, connections, egress, folder });
  });
  afterAll(async () => {
    await egress.close();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    caller = systemCaller(await test.organisation(), 'test');
    nodes = [await startKubo(), await startKubo()];
    service = await startPinningService(TOKEN, nodes);
    for (const [n, node] of nodes.entries()) await connect(`node-${String(n)}`, { kind: 'ipfs', url: node.url, headers: {} });
    await connect('service', { kind: 'pinning', url: service.url, token: TOKEN, gateway: service.url });
  });
  afterEach(async () => void (await Promise.all([...nodes, service].map((one) => one.close()))));

  const connect = (name: string, settings: Parameters<Connections['create']>[1]['settings'], by = caller) => connections.create(by, { name, settings }, { test: true, signal });
  async function* pieces(bytes: Uint8Array, size = 65_537): AsyncIterable<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const add = (bytes: Uint8Array, subject?: string): Promise<Content> => contents.add(caller, { mediaType: 'text/plain', subject }, pieces(bytes), signal);
  const read = async (id: string): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for await (const part of contents.read(caller, id, signal)) parts.push(part);
    return Buffer.concat(parts);
  };
  const states = ({ pins }: Content): string[] => pins.map(({ provider, state }) => `${provider} ${state}`);
  const ALL = ['node-0 pinned', 'node-1 pinned', 'service pinned'];

  it('is sealed, kept by every provider, and read back', async () => {
    const text = Buffer.from('canary of the content '.repeat(100_000));
    const kept = await add(text);
    expect(kept).toMatchObject({ bytes: text.length, blocks: 3, mediaType: 'text/plain', about: false });
    expect(states(kept)).toEqual(ALL);
    for (const node of nodes) {
      expect([...node.pins]).toEqual([kept.root]);
      for (const block of node.blocks.values()) expect(block.includes('canary')).toBe(false);
    }
    expect([...service.pins.values()]).toEqual([{ cid: kept.root, origins: Array.from({ length: 2 }, () => '/ip4/127.0.0.1/tcp/4001/p2p/node') }]);
    expect((await read(kept.id)).equals(text)).toBe(true);
    expect(await contents.list(caller, 10)).toEqual([kept]);
    const stranger = systemCaller(await test.organisation(), 'test');
    await expect(contents.get(stranger, kept.id)).rejects.toMatchObject({ type: 'NotFound' });
    await contents.remove(caller, kept.id, signal);
    expect([...nodes.map(({ pins }) => pins.size), service.pins.size]).toEqual([0, 0, 0]);
    await expect(contents.get(caller, kept.id)).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('may have exactly 100 MB, and not a byte more', async () => {
    const most = randomBytes(1_000_000);
    async function* times(count: number, more: Uint8Array): AsyncIterable<Uint8Array> {
      for (let n = 0; n < count; n += 1) yield most;
      yield more;
    }
    const [node] = nodes;
    if (node === undefined) throw new TypeError('there is a node');
    const large = systemCaller(await test.organisation(), 'test');
    await connect('node', { kind: 'ipfs', url: node.url, headers: {} }, large);
    const kept = await contents.add(large, { mediaType: 'application/zip' }, times(100, Buffer.alloc(0)), signal);
    expect(kept).toMatchObject({ bytes: 100_000_000, blocks: 100 });
    let whole = 0;
    for await (const part of contents.read(large, kept.id, signal)) whole += part.equals(most) ? 1 : 0;
    expect(whole).toBe(100);
    await expect(contents.add(large, { mediaType: 'application/zip' }, times(100, Buffer.alloc(1)), signal)).rejects.toMatchObject({ type: 'BodyTooLarge' });
    expect(await contents.list(large, 10)).toHaveLength(1);
    expect([...node.pins]).toEqual([kept.root]);
  }, 120_000);

  it('comes from another provider when one lies or dies half-way, and its pin is repaired', async () => {
    const bytes = randomBytes(3_500_000);
    const { id, root } = await add(bytes);
    const [first, second] = nodes;
    if (first === undefined || second === undefined) throw new TypeError('there are two nodes');
    first.lies = true;
    expect((await read(id)).equals(bytes)).toBe(true);
    first.lies = false;
    first.left = 2;
    expect((await read(id)).equals(bytes)).toBe(true);
    expect(first.left).toBeLessThan(0);
    expect(states(await contents.repair(caller, id, signal))).toEqual(['node-0 failed', 'node-1 pinned', 'service pinned']);
    // Its successor starts with nothing; so does the second node.
    const successor = await startKubo();
    nodes[0] = successor;
    const [stale] = (await connections.list(caller, 10)).filter(({ name }) => name === 'node-0');
    await connections.replace(caller, stale?.id ?? '', { settings: { kind: 'ipfs', url: successor.url, headers: {} } }, { test: true, signal });
    second.pins.clear();
    second.blocks.clear();
    service.pins.clear();
    expect(states(await contents.repair(caller, id, signal))).toEqual(ALL);
    expect([...successor.pins, ...second.pins, ...[...service.pins.values()].map(({ cid }) => cid)]).toEqual([root, root, root]);
    expect((await read(id)).equals(bytes)).toBe(true);
  });

  it('is kept when one provider at least keeps it; otherwise nothing is written', async () => {
    const [first, second] = nodes;
    if (first === undefined || second === undefined) throw new TypeError('there are two nodes');
    first.left = 1;
    const kept = await add(randomBytes(2_000_000));
    expect(states(kept)).toEqual(['node-0 failed', 'node-1 pinned', 'service pinned']);
    second.left = 1;
    await expect(add(randomBytes(2_000_000))).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    expect(await contents.list(caller, 10)).toHaveLength(1);
  });

  it('leaves nothing of an upload whose process was killed, a day later', async () => {
    caller = systemCaller(await test.organisation(), 'test');
    const own = join(folder, caller.orgId);
    const files = async (): Promise<string[]> => (await readdir(own, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name)).toSorted();
    const kept = [await add(randomBytes(1_500_000)), await add(Buffer.from('small'))];
    const whole = await files();
    // Its blocks come, and then nothing more.
    const held = Promise.withResolvers<undefined>();
    async function* endless(): AsyncIterable<Uint8Array> {
      yield randomBytes(2_100_000);
      await held.promise;
      throw new HalError('Internal', 'over');
    }
    const upload = contents.add(caller, { mediaType: 'text/plain' }, endless(), signal);
    await expect.poll(files).toHaveLength(whole.length + 2);
    const left = join(folder, 'left');
    await cp(own, left, { recursive: true });
    held.resolve(undefined);
    await expect(upload).rejects.toThrow('over');
    expect(await files()).toEqual(whole);
    await cp(left, own, { recursive: true });
    await rm(left, { recursive: true });
    const unfinished = join(own, '.half-written.tmp');
    await writeFile(unfinished, 'half');
    expect(await files()).toHaveLength(whole.length + 3);
    // Another installation's folder, of an organisation nobody knows here.
    const foreign = join(folder, crypto.randomUUID());
    await cp(own, foreign, { recursive: true });
    const remains = new ContentRemains({ database: test.database, folder });
    const days = (count: number): Date => new Date(Date.now() + count * 86_400_000);
    expect(await remains.remove(days(0.9), signal)).toBe(0);
    // One that is being written now belongs to an upload that goes on.
    await utimes(unfinished, days(1), days(1));
    expect(await remains.remove(days(1.1), signal)).toBe(2);
    expect(await files()).toEqual([unfinished, ...whole]);
    expect(await remains.remove(days(2.1), signal)).toBe(1);
    expect(await files()).toEqual(whole);
    expect((await readdir(foreign, { recursive: true })).length).toBeGreaterThan(whole.length);
    for (const { id, bytes } of kept) expect(await read(id)).toHaveLength(bytes);
    expect(await new ContentRemains({ database: test.database, folder: join(folder, 'nowhere') }).remove(days(9), signal)).toBe(0);
    await rm(foreign, { recursive: true });
  });

  it('is kept by HAL9 itself where no node is connected: on its disk, sealed, nothing left of what was not whole', async () => {
    caller = systemCaller(await test.organisation(), 'test');
    const own = join(folder, caller.orgId);
    const files = async (): Promise<string[]> => (await readdir(own, { recursive: true })).filter((name) => name.endsWith('.data')).map((name) => join(own, name));
    const text = Buffer.from('canary of the content '.repeat(100_000));
    const kept = await add(text);
    expect(states(kept)).toEqual(['(embedded) pinned']);
    expect(await files()).toHaveLength(4);
    for (const file of await files()) expect((await readFile(file)).includes('canary')).toBe(false);
    expect((await read(kept.id)).equals(text)).toBe(true);
    async function* tooMuch(): AsyncIterable<Uint8Array> {
      for (let n = 0; n < 3; n += 1) yield randomBytes(1_000_000);
      throw new HalError('BodyTooLarge', 'more than there may be');
    }
    await expect(contents.add(caller, { mediaType: 'text/plain' }, tooMuch(), signal)).rejects.toMatchObject({ type: 'BodyTooLarge' });
    expect(await files()).toHaveLength(4);
    // A damaged block is none; nobody else has it.
    const sizes = await Promise.all((await files()).map(async (file) => ({ file, size: (await stat(file)).size })));
    const { file } = sizes.toSorted((a, b) => b.size - a.size)[0] ?? { file: '' };
    const block = await readFile(file);
    await writeFile(file, 'other');
    await expect(read(kept.id)).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    expect(states(await contents.repair(caller, kept.id, signal))).toEqual(['(embedded) failed']);
    await writeFile(file, block);
    expect(states(await contents.repair(caller, kept.id, signal))).toEqual(['(embedded) pinned']);
    // A service fetches from nodes, and nobody can fetch from here.
    await connect('service', { kind: 'pinning', url: service.url, token: TOKEN, gateway: service.url });
    expect(states(await contents.repair(caller, kept.id, signal))).toEqual(['(embedded) pinned', 'service failed']);
    const [node] = nodes;
    await connect('node-0', { kind: 'ipfs', url: node?.url ?? '', headers: {} });
    expect(states(await contents.repair(caller, kept.id, signal))).toEqual(['(embedded) pinned', 'node-0 pinned', 'service pinned']);
    expect(states(await add(Buffer.from('another')))).toEqual(['node-0 pinned', 'service pinned']);
    expect(await files()).toHaveLength(4);
    // From a node, what is lost here comes back.
    await rm(own, { recursive: true });
    expect((await read(kept.id)).equals(text)).toBe(true);
    expect(states(await contents.repair(caller, kept.id, signal))).toEqual(['(embedded) pinned', 'node-0 pinned', 'service pinned']);
    expect(await files()).toHaveLength(4);
    await contents.remove(caller, kept.id, signal);
    expect(await files()).toEqual([]);
  });

  it('goes with the key of whom it is about', async () => {
    const { id } = await add(Buffer.from('of ada'), 'email:ada@example.net');
    expect((await read(id)).toString()).toBe('of ada');
    const inquiry = { orgId: caller.orgId, texts: [], subjects: subjectHashes(keys, caller.orgId, { email: ['ada@example.net'] }), keyIds: [] };
    const own = new OwnPersonalDataStore(test.database);
    expect((await own.read(inquiry)).map(({ table, rows }) => [table, rows.map((row) => row['id'])])).toEqual([['contents', [id]]]);
    expect((await own.erase(inquiry)).filter(({ rows }) => rows > 0)).toEqual([{ table: 'contents', method: 'mask', rows: 1 }]);
    await subjects.destroy(caller.orgId, inquiry.subjects);
    await expect(read(id)).rejects.toMatchObject({ type: 'NotFound' });
    // Known still, so that providers can be told to let go of it.
    expect(await contents.get(caller, id)).toMatchObject({ mediaType: 'erased' });
    await contents.remove(caller, id, signal);
    expect(nodes.map(({ pins }) => pins.size)).toEqual([0, 0]);
  });
});
