import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@redis/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { connect, type Connector } from '../../activities/privacy/connectors.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { ChangeInquiry, ChangeTarget } from '../../platform/privacy/change-target.ts';
import type { DataSource, ExportedRecords, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { SOURCE_DECLARATIONS } from '../../platform/privacy/source-kinds.ts';
import { PrivacyTasks } from '../../platform/privacy/tasks.ts';
import { ErasureStore } from '../../database/erasures.ts';
import { actOf } from '../../platform/audit/act.ts';
import type { Correction, SubjectChange } from '../../schemas/privacy/change.ts';
import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { findRedis, REDIS_MISSING, startRedis, type Redis } from '../environment/redis.ts';
import { findS3Mock, S3MOCK_MISSING, startS3Mock, type S3Mock } from '../environment/s3mock.ts';

const [redisTool, s3Archive] = [await findRedis(), await findS3Mock()];
const missing = [...(redisTool === undefined ? [REDIS_MISSING] : []), ...(s3Archive === undefined ? [S3MOCK_MISSING] : [])];
if (missing.length > 0 && process.env['CI'] !== undefined) throw new Error(missing.join('\n'));
for (const words of missing) process.stderr.write(`${words}\n`);

const keys = new KeyRing([{ id: 't', key: Buffer.alloc(32, 7) }]);
const egress = new Egress({ allowPrivate: true });
const ADA = 'ada@example.com';
let test: TestDatabase;
let folder: string;
beforeAll(async () => {
  test = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'hal9-connectors-'));
});
afterAll(async () => {
  await egress.close();
  await test.drop();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const inquiry = (changes: Partial<SubjectInquiry> = {}): SubjectInquiry => ({ orgId: '0190d1c3-0000-7000-8000-000000000001', requestId: '0190d1c3-0000-7000-8000-000000000002', identities: { email: ['Ada@Example.com'] }, subjects: [], maskKey: randomBytes(32), holds: [], signal: new AbortController().signal, ...changes });

function sourceOf(kind: SourceKind, address: string, annotations: string): DataSource {
  return connectorOf(kind, address, annotations).source;
}

function connectorOf(kind: SourceKind, address: string, annotations: string): Connector {
  SOURCE_DECLARATIONS[kind].shown(address);
  SOURCE_DECLARATIONS[kind].checkAnnotations(annotations);
  return connect({ id: '0190d1c3-0000-7000-8000-00000000000a', name: 'other', kind, address, annotations }, { egress, database: test.database, keys });
}

async function erased(source: DataSource, one: SubjectInquiry): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  await source.erase(one, (changed) => {
    for (const { table, changed: rows } of changed) counts[table] = (counts[table] ?? 0) + rows;
    return Promise.resolve();
  });
  return counts;
}

const changing = (change: SubjectChange, changes: Partial<SubjectInquiry> = {}): ChangeInquiry => ({ ...inquiry(changes), change, found: true });

async function changed(target: ChangeTarget, one: ChangeInquiry): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  await target.change(one, (tables) => {
    for (const { table, changed: rows } of tables) counts[table] = (counts[table] ?? 0) + rows;
    return Promise.resolve();
  });
  return counts;
}

const planned = async (source: DataSource, one: SubjectInquiry): Promise<Record<string, number>> => Object.fromEntries((await source.plan(one)).tables.filter(({ method }) => method !== 'none').map(({ table, rows }) => [table, rows]));
const exported = async (source: DataSource, one: SubjectInquiry): Promise<ExportedRecords[]> => {
  const all: ExportedRecords[] = [];
  for await (const portion of source.export(one)) all.push(portion);
  return all;
};

describe.skipIf(redisTool === undefined)('Redis as a source', () => {
  const ANNOTATIONS = 'source: cache\nkeys:\n  - {key: "session:{email}", category: user.behavior}\n  - {key: "cart:*", field: mail, identity: email, category: user.content}\n  - {key: "profile:*", field: contact.mail, identity: email}\n  - {key: "account:*", field: mail, identity: email, remove: [mail, phone]}\n  - {key: "newsletter:*", members: email}\n  - {key: "invoice:*", field: mail, identity: email, keep: ten years by tax law}\n';
  let server: Redis;
  beforeAll(async () => {
    if (redisTool !== undefined) server = await startRedis(redisTool, folder, 'p@ss');
  });
  afterAll(() => server.stop());
  const client = () => createClient({ socket: { host: '127.0.0.1', port: server.port }, password: 'p@ss' });
  const opened = async <Answer>(use: (redis: ReturnType<typeof client>) => Promise<Answer>): Promise<Answer> => {
    const redis = client();
    await redis.connect();
    try {
      return await use(redis);
    } finally {
      redis.destroy();
    }
  };

  it('finds keys by name, field and member, erases them, and looks at all of them again', async () => {
    await opened(async (redis) => {
      await redis.flushAll();
      await redis.set(`session:${ADA}`, 'x');
      await redis.set('session:bob@example.com', 'y');
      await redis.hSet('cart:1', { mail: ADA, item: 'cookie' });
      await redis.hSet('cart:2', { mail: 'bob@example.com', item: 'cookie' });
      await redis.set('profile:7', JSON.stringify({ contact: { mail: 'ADA@example.com' } }));
      await redis.hSet('account:1', { mail: ADA, phone: '123', plan: 'free' });
      await redis.sAdd('newsletter:de', [ADA, 'bob@example.com']);
      await redis.zAdd('newsletter:en', [{ score: 1, value: ADA }]);
      await redis.rPush('newsletter:old', [ADA, 'bob@example.com', ADA]);
      await redis.hSet('invoice:1', { mail: ADA, sum: '5' });
      await redis.set('log:1', `mail to ${ADA}`);
      const source = sourceOf('redis', `redis://:${encodeURIComponent('p@ss')}@127.0.0.1:${server.port}/0`, ANNOTATIONS);
      const expected = { 'session:{email}': 1, 'cart:*': 1, 'profile:*': 1, 'account:*': 1, 'newsletter:*': 4 };
      expect(await planned(source, inquiry())).toEqual(expected);
      expect((await source.plan(inquiry())).looksUpBy).toEqual(['email']);
      expect((await exported(source, inquiry())).map(({ table }) => table)).toContain('invoice:*');
      expect(await source.recognise?.({ signal: new AbortController().signal }, (kind, value) => kind === 'email' && value.toLowerCase() === ADA)).toEqual(expect.arrayContaining([{ kind: 'email', value: ADA }]));
      expect(await erased(source, inquiry())).toEqual({ ...expected, 'newsletter:*': 4 });
      expect(await source.rescan(inquiry())).toEqual(expect.arrayContaining([expect.objectContaining({ table: 'invoice:*', column: 'value', rows: 1, kept: 'ten years by tax law' }), expect.objectContaining({ table: 'log:1', column: 'value', rows: 1, kept: null })]));
      expect((await source.rescan(inquiry())).length).toBe(2);
      expect((await redis.keys('*')).toSorted()).toEqual(['account:1', 'cart:2', 'invoice:1', 'log:1', 'newsletter:de', 'newsletter:old', 'session:bob@example.com']);
      expect([await redis.hGetAll('account:1'), await redis.lRange('newsletter:old', 0, -1)]).toEqual([{ plan: 'free' }, ['bob@example.com']]);
      // Again: nothing is left to do.
      expect(await erased(source, inquiry())).toEqual({});
    });
  });

  it('has people change what it holds, and knows no consents', async () => {
    await opened(async (redis) => {
      await redis.flushAll();
      await redis.hSet('cart:1', { mail: ADA, item: 'cookie' });
      const { target } = connectorOf('redis', `redis://:${encodeURIComponent('p@ss')}@127.0.0.1:${server.port}/0`, ANNOTATIONS);
      const plan = await target.planChange(changing({ kind: 'rectification', corrections: [{ category: 'user.content', value: 'cake' }] }));
      expect(plan).toEqual({ refusals: [], looksUpBy: ['email'], knows: [], tables: [{ table: 'cart:*', rows: 1 }] });
      expect((await target.planChange(changing({ kind: 'consent', purpose: 'newsletter', state: 'withdrawn' }))).tables).toEqual([]);
    });
  });

  it('says what it refuses, and whether it is away, without naming anything', async () => {
    const wrong = sourceOf('redis', `redis://:wrong@127.0.0.1:${server.port}/0`, ANNOTATIONS);
    await expect(wrong.plan(inquiry())).rejects.toMatchObject({ type: 'Conflict', message: 'Redis refuses: WRONGPASS' });
    await expect(sourceOf('redis', 'redis://:x@127.0.0.1:1/0', ANNOTATIONS).plan(inquiry())).rejects.toMatchObject({ type: 'ExternalCallFailed', message: expect.not.stringContaining('127.0.0.1:1') });
  });
});

describe.skipIf(s3Archive === undefined)('a bucket as a source', () => {
  let server: S3Mock;
  beforeAll(async () => {
    if (s3Archive !== undefined) server = await startS3Mock(s3Archive, folder);
  }, 150_000);
  afterAll(() => server.stop());
  const put = async (path: string, body?: string): Promise<void> => {
    const { ok, status } = await fetch(`${server.url}${path}`, { method: 'PUT', ...(body === undefined ? {} : { body, headers: { 'content-type': body.startsWith('<') ? 'application/xml' : 'text/plain' } }) });
    if (!ok) throw new Error(`${path}: ${status}`);
  };

  it('finds objects by name and content, deletes every version, and looks again', async () => {
    await put('/people');
    await put('/people?versioning', '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>');
    await put(`/people/users/${ADA}/picture.txt`, 'first');
    await put(`/people/users/${ADA}/picture.txt`, 'second');
    await put('/people/users/bob@example.com/picture.txt', 'bob');
    await put('/people/orders/1.json', JSON.stringify({ buyer: { mail: 'ADA@example.com' } }));
    await put('/people/orders/2.json', JSON.stringify({ buyer: { mail: 'bob@example.com' } }));
    await put('/people/notes/1.txt', `about ${ADA}`);
    const source = sourceOf('s3', `s3://key:secret@127.0.0.1:${server.port}/people?region=us-east-1&tls=disable`, 'source: bucket\nobjects:\n  - {key: "users/{email}/*", category: user.content}\n  - {key: "orders/*.json", member: buyer.mail, identity: email}\n');
    const expected = { 'users/{email}/*': 2, 'orders/*.json': 1 };
    expect(await planned(source, inquiry())).toEqual(expected);
    expect((await exported(source, inquiry())).length).toBe(3);
    expect(await source.recognise?.({ signal: new AbortController().signal }, (_, value) => value.toLowerCase() === ADA)).toEqual([{ kind: 'email', value: ADA }, { kind: 'email', value: 'ADA@example.com' }]);
    expect(await erased(source, inquiry())).toEqual(expected);
    expect(await source.rescan(inquiry())).toEqual([expect.objectContaining({ table: 'objects that nobody annotated', column: 'content', rows: 1, kept: null })]);
    expect((await fetch(`${server.url}/people/users/bob@example.com/picture.txt`)).status).toBe(200);
    expect(await planned(source, inquiry())).toEqual({});
  });

  it('says that the bucket is not there', async () => {
    const source = sourceOf('s3', `s3://key:secret@127.0.0.1:${server.port}/nowhere?tls=disable`, 'source: bucket\nobjects:\n  - {key: "users/{email}/*"}\n');
    await expect(source.plan(inquiry())).rejects.toMatchObject({ type: 'Conflict', message: 'there is no such bucket' });
  });
});

describe('an API as a source', () => {
  let server: LocalServer;
  let contacts: { id: number; mail: string }[];
  let refuse: number | undefined;
  const deletes: (string | undefined)[] = [];
  beforeAll(async () => {
    let busy = 1;
    server = await startHttpServer((request, response) => {
      const url = new URL(request.path, server.url);
      const answer = (status: number, body: unknown, headers: Record<string, string> = {}): void => void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
      if (request.headers.authorization !== 'Bearer t0ken') return answer(401, {});
      if (refuse !== undefined && request.method === 'DELETE') return answer(refuse, {});
      if (busy > 0) {
        busy -= 1;
        return answer(429, {}, { 'retry-after': '0' });
      }
      if (request.method === 'DELETE') {
        deletes.push(String(request.headers['idempotency-key']));
        contacts = contacts.filter(({ id }) => !url.pathname.endsWith(`/contacts/${id}`));
        return answer(204, '');
      }
      const found = contacts.filter(({ mail }) => mail === url.searchParams.get('mail')?.toLowerCase());
      const from = Number(url.searchParams.get('after') ?? 0);
      return answer(200, { data: { items: found.slice(from, from + 2) }, paging: { after: from + 2 < found.length ? from + 2 : null } });
    });
  });
  afterAll(() => server.close());
  const annotations = (erase = '    erase: {path: "/contacts/{id}"}\n'): string => `source: crm\nperSecond: 200\nrecords:\n  contacts:\n    category: user.contact\n    find: {path: "/contacts?mail={email}", items: data.items, next: {member: paging.after, parameter: after}}\n${erase}`;
  const crm = (text = annotations()): DataSource => sourceOf('http', `${server.url.replace('http://', 'http://bearer:t0ken@')}/v2`, text);

  it('goes through all pages, waits when told to, erases each record with a key of its own, and asks again', async () => {
    contacts = [1, 2, 3, 4, 5].map((id) => ({ id, mail: id === 4 ? 'bob@example.com' : ADA }));
    expect(await planned(crm(), inquiry())).toEqual({ contacts: 4 });
    expect((await exported(crm(), inquiry()))[0]?.rows.length).toBe(4);
    expect(await crm().rescan(inquiry())).toEqual([expect.objectContaining({ table: 'contacts', rows: 4, kept: null })]);
    expect(await erased(crm(), inquiry())).toEqual({ contacts: 4 });
    expect(contacts.map(({ id }) => id)).toEqual([4]);
    expect([new Set(deletes).size, await crm().rescan(inquiry())]).toEqual([4, []]);
  });

  it('refuses before anything is destroyed where no call erases, and says what the API refused', async () => {
    contacts = [{ id: 1, mail: ADA }];
    expect((await crm(annotations('')).plan(inquiry())).refusals).toEqual(['contacts: 1 records, and no call erases them: erase them by hand, or declare the call']);
    refuse = 403;
    await expect(erased(crm(), inquiry())).rejects.toMatchObject({ type: 'Conflict', message: 'contacts: the API answered 403 to DELETE: whoever runs it must say why' });
    refuse = 500;
    await expect(erased(crm(), inquiry())).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    refuse = undefined;
    expect(contacts.length).toBe(1);
  });
});

describe('an API in which data change', () => {
  const rectification = (...corrections: Correction[]): SubjectChange => ({ kind: 'rectification', corrections });

  it('gets those members that are wrong, and is asked again', async () => {
    const contacts = new Map<string, Record<string, unknown>>([['1', { id: 1, mail: ADA, name: 'Adda', flags: { news: true } }], ['2', { id: 2, mail: ADA, name: 'adda', flags: { news: false } }], ['3', { id: 3, mail: 'bob@example.com', name: 'Bob', flags: { news: true } }]]);
    const patches: { at: string; key: string; body: unknown }[] = [];
    let refuse: number | undefined;
    const server = await startHttpServer((request, response) => {
      const url = new URL(request.path, 'http://crm');
      const answer = (status: number, body: unknown): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      if (request.method !== 'PATCH') return answer(200, [...contacts.values()].filter(({ mail }) => mail === url.searchParams.get('mail')?.toLowerCase()));
      if (refuse !== undefined) return answer(refuse, {});
      const [id, body] = [url.pathname.split('/').at(-1) ?? '', z.record(z.string(), z.unknown()).parse(JSON.parse(request.body))];
      patches.push({ at: url.pathname, key: String(request.headers['idempotency-key']), body });
      contacts.set(id, { ...contacts.get(id), ...body });
      return answer(200, {});
    });
    try {
      const members = '    members:\n      name: {category: user.name}\n      mail: {category: user.contact.email}\n      flags.news: {consent: {purpose: newsletter}}\n';
      const crm = (text: string): ChangeTarget => connectorOf('http', server.url, `source: crm\nperSecond: 200\nrecords:\n  contacts:\n    find: {path: "/contacts?mail={email}"}\n${text}`).target;
      const whole = crm(`${members}    update: {path: "/contacts/{id}", body: {by: hal9}}\n`);
      const named = changing(rectification({ category: 'user.name', value: 'Ada' }));
      expect(await whole.planChange(named)).toEqual({ refusals: [], looksUpBy: ['email'], knows: ['user.name'], tables: [{ table: 'contacts', rows: 2 }] });
      expect(await changed(whole, named)).toEqual({ contacts: 2 });
      expect(patches.map(({ at, body }) => [at, body])).toEqual([['/contacts/1', { by: 'hal9', name: 'Ada' }], ['/contacts/2', { by: 'hal9', name: 'Ada' }]]);
      expect(new Set(patches.map(({ key }) => key)).size).toBe(2);
      expect([await whole.recheck(named), await changed(whole, named)]).toEqual([[], {}]);
      const consent = changing({ kind: 'consent', purpose: 'newsletter', state: 'withdrawn' });
      expect(await changed(whole, consent)).toEqual({ contacts: 1 });
      expect(patches.at(-1)?.body).toEqual({ by: 'hal9', flags: { news: false } });
      expect(contacts.get('3')).toEqual({ id: 3, mail: 'bob@example.com', name: 'Bob', flags: { news: true } });

      // What cannot be done is said before anything is, or after it was refused.
      contacts.set('2', { id: 2, mail: ADA, name: 'Grace' });
      const other = changing(rectification({ category: 'user.name', value: 'Lovelace' }));
      expect((await whole.planChange(other)).refusals).toEqual(['contacts name holds several different values of the person: say which was wrong (`was`)']);
      expect(await changed(whole, changing(rectification({ category: 'user.name', value: 'Lovelace', was: 'ADA' })))).toEqual({ contacts: 1 });
      expect((await crm(members).planChange(changing(rectification({ category: 'user.name', value: 'Hopper', was: 'grace' })))).refusals).toEqual(['contacts: 1 records, and no call changes them: declare `update`, or a manual source for it']);
      expect((await whole.planChange(changing({ kind: 'restriction', state: 'on' }))).refusals[0]).toContain('2 records of the person, and nothing here says that processing is restricted');
      const held = changing(rectification({ category: 'user.name', value: 'Hopper', was: 'grace' }), { holds: [{ id: 'h', subjects: null, source: 'other', table: 'contacts', reason: 'case 7', until: null, createdAt: new Date(), createdBy: 'x', releasedAt: null, restrictionId: null }] });
      expect((await whole.planChange(held)).refusals).toEqual(['contacts: a legal hold protects it (h: case 7): whoever placed it must release it']);
      refuse = 422;
      await expect(changed(whole, changing(rectification({ category: 'user.name', value: 'Hopper', was: 'grace' })))).rejects.toMatchObject({ type: 'Conflict', message: 'contacts: the API answered 422 to PATCH: whoever runs it must say why' });
      expect(await whole.recheck(changing(rectification({ category: 'user.name', value: 'Hopper', was: 'grace' })))).toEqual(['1 records of contacts still hold something else in name: whoever runs the API must say why']);
    } finally {
      await server.close();
    }
  });
});

describe('what people do by hand', () => {
  it('is handed over with who it is about, and keeps the erasure open until it is done', async () => {
    const orgId = await test.organisation();
    const caller: Caller = systemCaller(orgId, 'test');
    const [erasureId, dueAt] = ['0190d1c3-0000-7000-8000-0000000000ff', new Date(Date.now() + 86_400_000)];
    await new ErasureStore(test.database).insert(orgId, { id: erasureId, subjects: [], verification: 'test', requestedBy: 'test:test', dueAt }, Buffer.from('x'), actOf(caller, 'erasure.request', { kind: 'erasure', id: erasureId }));
    const resumed: string[] = [];
    const tasks = new PrivacyTasks({
      database: test.database,
      keys,
      erasures: {
        async resume(_, id) {
          resumed.push(id);
          const erasure = await new ErasureStore(test.database).find(orgId, id);
          if (erasure === undefined) throw new Error('no erasure');
          return erasure;
        },
      },
      changes: { resume: () => Promise.reject(new Error('no change is expected')) },
    });
    const source = sourceOf('manual', 'manual:the archive in the cellar', 'source: paper\ntasks:\n  folder: {instructions: Shred the folder of the person., category: user.content}\n  ledger: {instructions: none, keep: ten years by tax law}\n');
    const one = inquiry({ orgId, requestId: erasureId });
    expect(await source.plan(one)).toMatchObject({ looksUpBy: 'any', refusals: [], tables: [{ table: 'folder', method: 'delete' }, { table: 'ledger', method: 'none' }] });
    await expect(erased(source, one)).rejects.toThrow(/^folder: somebody must do it by \d{4}-\d\d-\d\d \(task [0-9a-f-]{36}, open\)$/);
    await expect(erased(source, one)).rejects.toThrow('folder');
    const [task] = await tasks.list(caller, 10);
    expect([(await tasks.list(caller, 10)).length, task?.dueAt, task?.state]).toEqual([1, dueAt, 'open']);
    const id = task?.id ?? '';
    expect((await tasks.take(caller, id)).identities).toEqual({ email: ['Ada@Example.com'] });
    await tasks.end(caller, id, { outcome: 'refused', note: 'the cellar is locked' });
    await expect(erased(source, one)).rejects.toThrow('folder: refused by whoever was to do it');
    expect(await source.rescan(one)).toEqual([expect.objectContaining({ table: 'folder', kept: null }), expect.objectContaining({ table: 'ledger', kept: 'ten years by tax law' })]);
    await tasks.take(caller, id);
    expect(await tasks.end(caller, id, { outcome: 'done', note: 'shredded' })).toMatchObject({ state: 'done', sealed: null });
    expect(resumed).toEqual([erasureId, erasureId]);
    expect(await erased(source, one)).toEqual({});
    expect(await source.rescan(one)).toEqual([expect.objectContaining({ table: 'ledger' })]);
    await expect(tasks.take(caller, id)).rejects.toThrow('the task is done');
  });
});

describe('addresses of sources', () => {
  it.each<[SourceKind, string]>([['redis', 'redis://h/x'], ['redis', 'http://h/0'], ['s3', 's3://h/bucket'], ['s3', 's3://k:s@h/'], ['s3', 's3://k:s@h/b?endpoint=x'], ['http', 'ftp://h/'], ['http', 'https://h/?token=x'], ['manual', 'paper'], ['redis', 'redis://u:%zz@h/0']])('%s refuses %s without showing it', (kind, address) => {
    expect(() => SOURCE_DECLARATIONS[kind].shown(address)).toThrow(/^the address cannot be used: /);
  });

  it('show host and place only', () => {
    expect(SOURCE_DECLARATIONS.s3.shown('s3://k:s3cret@s3.example:9000/people?region=eu-central-1')).toEqual({ host: 's3.example:9000', database: 'people' });
    expect(SOURCE_DECLARATIONS.http.shown('https://bearer:t0ken@api.example/v2')).toEqual({ host: 'api.example', database: '/v2' });
    expect(SOURCE_DECLARATIONS.redis.shown('rediss://u:p@cache.example/3')).toEqual({ host: 'cache.example', database: '3' });
  });
});
