import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { ConnectionSettings } from '../../schemas/rest/connections.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';

const CANARY = 'canary-7f3e91-secret';
const signal = () => AbortSignal.timeout(10_000);

describe('connections', () => {
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  const egress = new Egress({ allowPrivate: true });
  let test: TestDatabase;
  let owner: ReturnType<typeof connectOwner>;
  let server: LocalServer;
  let connections: Connections;
  let caller: Caller;
  beforeAll(async () => {
    test = await createTestDatabase();
    owner = connectOwner(test.url);
    connections = new Connections({ database: test.database, keys, egress });
  });
  afterAll(async () => {
    await egress.close();
    await owner.destroy();
    await test.drop();
  });
  beforeEach(async () => {
    server = await startHttpServer((_, response) => json(response, 200, { data: [] }));
    caller = systemCaller(await test.organisation(), 'test');
  });
  afterEach(() => server.close());

  const llm = (): ConnectionSettings => ({ kind: 'llm', provider: 'anthropic', apiKey: CANARY, baseUrl: `${server.url}/v1` });

  it('tests on save with the real credential, and keeps the secret sealed', async () => {
    const created = await connections.create(caller, { name: 'models', settings: llm() }, { test: true, signal: signal() });
    expect(server.received[0]).toMatchObject({ method: 'GET', path: '/v1/models', headers: { 'x-api-key': CANARY } });
    expect(created).toMatchObject({ version: 1, state: 'ok', settings: { provider: 'anthropic' }, secrets: ['apiKey'], updatedBy: 'system:test' });
    const shown = JSON.stringify([created, await connections.get(caller, created.id), await connections.list(caller, 10)]);
    expect(shown).not.toContain(CANARY);
    const { rows } = await sql<{ line: string }>`select c::text as line from connections c`.execute(owner);
    expect(rows).toHaveLength(1);
    expect(rows[0]?.line).not.toContain(Buffer.from(CANARY).toString('hex'));
    expect((await connections.open(caller.orgId, 'models', ['llm'])).settings.apiKey).toBe(CANARY);
  });

  it('does not save what does not work, says why, and names no secret', async () => {
    server.answer = (_, response) => json(response, 401, { error: `bad key ${CANARY}` });
    const failure = await connections.create(caller, { name: 'models', settings: llm() }, { test: true, signal: signal() }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'InvalidInput', message: expect.stringContaining('credential was refused (HTTP 401)') });
    expect(String(failure)).not.toContain(CANARY);
    expect(await connections.list(caller, 10)).toEqual([]);
    const untested = await connections.create(caller, { name: 'models', settings: llm() }, { test: false, signal: signal() });
    expect(untested.state).toBe('untested');
    expect(await connections.test(caller, untested.id, signal())).toMatchObject({ state: 'failed', lastFailure: 'the credential was refused (HTTP 401)' });
  });

  it('says that a service which is away may be back', async () => {
    server.answer = (_, response) => json(response, 503, {}, { 'retry-after': '7' });
    await expect(connections.create(caller, { name: 'models', settings: llm() }, { test: true, signal: signal() })).rejects.toMatchObject({ type: 'ExternalCallFailed', retryAfterSeconds: 7 });
  });

  it('refuses private addresses unless they are allowed', async () => {
    const strict = new Egress({ allowPrivate: false });
    const guarded = new Connections({ database: test.database, keys, egress: strict });
    const settings: ConnectionSettings[] = [llm(), { kind: 'slack', url: server.url }, { kind: 'smtp', host: 'localhost', port: server.port, tls: 'none', from: 'a@example.com', to: ['b@example.com'] }];
    for (const [index, each] of settings.entries()) {
      await expect(guarded.create(caller, { name: `c${index}`, settings: each }, { test: true, signal: signal() })).rejects.toMatchObject({ type: 'InvalidInput', message: expect.stringContaining('private or reserved') });
    }
    expect(server.received).toEqual([]);
    await strict.close();
  });

  it('rotates one secret, keeps the rest, and counts versions', async () => {
    const settings: ConnectionSettings = { kind: 'webhook', url: `${server.url}/hook/${CANARY}`, headers: { 'x-token': 'old' }, secret: `whsec_${randomBytes(24).toString('base64')}` };
    const created = await connections.create(caller, { name: 'hook', settings }, { test: true, signal: signal() });
    expect(created.settings).toEqual({ kind: 'webhook', origin: server.url });
    expect(created.secrets).toEqual(['url', 'headers.x-token', 'secret']);
    const rotated = await connections.rotate(caller, created.id, { headers: { 'x-token': 'new' } }, { test: true, signal: signal() });
    expect(rotated.version).toBe(2);
    expect(server.received.at(-1)?.headers['x-token']).toBe('new');
    expect((await connections.open(caller.orgId, 'hook', ['webhook'])).settings).toEqual({ ...settings, headers: { 'x-token': 'new' } });
    await expect(connections.rotate(caller, created.id, { secret: 'short' }, { test: false, signal: signal() })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(connections.replace(caller, created.id, { settings, version: 1 }, { test: false, signal: signal() })).rejects.toMatchObject({ type: 'Conflict' });
    await expect(connections.replace(caller, created.id, { settings: llm() }, { test: false, signal: signal() })).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('seals again under the newest master key, and opens nothing without it', async () => {
    const created = await connections.create(caller, { name: 'models', settings: llm() }, { test: false, signal: signal() });
    const master = randomBytes(32);
    const both = new Connections({ database: test.database, egress, keys: new KeyRing([{ id: 'b', key: master }, { id: 'a', key: randomBytes(32) }]) });
    expect(await both.get(caller, created.id)).toMatchObject({ settings: null, secrets: [] });
    await expect(both.open(caller.orgId, 'models', ['llm'])).rejects.toMatchObject({ type: 'Internal' });
  });

  it('does not open a row that was moved to another organisation or an older version put back', async () => {
    const created = await connections.create(caller, { name: 'models', settings: llm() }, { test: false, signal: signal() });
    await sql`create temporary table kept as select sealed from connections where id = ${created.id}`.execute(owner);
    await connections.rotate(caller, created.id, { apiKey: 'next' }, { test: false, signal: signal() });
    await sql`update connections set sealed = (select sealed from kept) where id = ${created.id}`.execute(owner);
    await expect(connections.open(caller.orgId, 'models', ['llm'])).rejects.toMatchObject({ type: 'Internal' });
  });

  it('keeps organisations apart and names unique within one', async () => {
    const created = await connections.create(caller, { name: 'models', settings: llm() }, { test: false, signal: signal() });
    await expect(connections.create(caller, { name: 'models', settings: llm() }, { test: false, signal: signal() })).rejects.toMatchObject({ type: 'Conflict' });
    const other = systemCaller(await test.organisation(), 'test');
    await expect(connections.get(other, created.id)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(connections.remove(other, created.id)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(connections.open(other.orgId, 'models', ['llm'])).rejects.toMatchObject({ type: 'NotFound' });
    await expect(connections.open(caller.orgId, 'models', ['smtp'])).rejects.toMatchObject({ type: 'Conflict' });
    await connections.remove(caller, created.id);
    await expect(connections.get(caller, created.id)).rejects.toMatchObject({ type: 'NotFound' });
  });
});

/** The schema's owner, past row-level security, on one connection. */
function connectOwner(url: string): Kysely<Record<string, never>> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  // The end of a pool does not wait for its sockets: dropping the database may be what closes this one.
  pool.on('error', () => undefined);
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}
