import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../database/database.ts';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { ApiKeys } from '../../platform/identity/api-keys.ts';
import { bootstrap } from '../../platform/identity/bootstrap.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

const caller = (orgId: string, scopes: readonly string[] = ['*']): Caller => ({ orgId, actor: { kind: 'system', id: 'test' }, scopes, requestId: 'test', traceparent: undefined });

describe('API keys', () => {
  let test: TestDatabase;
  let one: ApiKeys;
  let two: ApiKeys;
  let orgId: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    orgId = await test.organisation();
    [one, two] = [new ApiKeys(test.database), new ApiKeys(test.database)];
    one.start();
    two.start();
    await sleep(200);
  });
  afterAll(async () => {
    await one.stop();
    await two.stop();
    await test.drop();
  });

  it('knows a key it made and stores only its hash', async () => {
    const { key, secret } = await one.create(caller(orgId), { name: 'ci', scopes: ['runs:read'] });
    expect(secret).toMatch(/^hal9_[0-9A-Za-z]{10}_[0-9A-Za-z]{43}$/);
    expect(await two.authenticate(secret)).toMatchObject({ orgId, id: key.id, scopes: ['runs:read'] });
    expect(await two.authenticate(`${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`)).toBeUndefined();
    const stored = await new ApiKeyStore(test.database).find(orgId, key.id);
    expect(JSON.stringify(stored)).not.toContain(secret.slice(-43));
    expect(stored?.secretHash).toHaveLength(32);
  });

  it('ends a revoked key in the other process within a second', async () => {
    const { key, secret } = await one.create(caller(orgId), { name: 'short', scopes: ['runs:read'] });
    expect(await two.authenticate(secret)).toBeDefined();
    const began = performance.now();
    await one.revoke(caller(orgId), key.id);
    while ((await two.authenticate(secret)) !== undefined && performance.now() - began < 5000) await sleep(5);
    const took = performance.now() - began;
    expect(took).toBeLessThan(1000);
    expect(await one.authenticate(secret)).toBeUndefined();
  });

  it('ends it within a second even when nobody can be told', async () => {
    const { key, secret } = await one.create(caller(orgId), { name: 'deaf', scopes: ['runs:read'] });
    expect(await two.authenticate(secret)).toBeDefined();
    await test.database.system.updateTable('api_keys').set({ revoked_at: new Date() }).where('id', '=', key.id).execute();
    const began = performance.now();
    while ((await two.authenticate(secret)) !== undefined && performance.now() - began < 5000) await sleep(5);
    expect(performance.now() - began).toBeLessThan(1100);
  });

  it('lets the old key work through the overlap of a rotation and not longer', async () => {
    const { key, secret } = await one.create(caller(orgId), { name: 'rotated', scopes: ['runs:read', 'runs:write:type=greet'] });
    const next = await one.rotate(caller(orgId), key.id, 1);
    expect(next.key).toMatchObject({ name: 'rotated', scopes: key.scopes });
    expect(await two.authenticate(next.secret)).toBeDefined();
    expect(await two.authenticate(secret)).toBeDefined();
    await sleep(1100);
    expect(await two.authenticate(secret)).toBeUndefined();
    await expect(one.rotate(caller(orgId), key.id, 1)).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('never grants more than its creator has', async () => {
    const limited = caller(orgId, ['runs:*', 'signals:write:source=a']);
    for (const scope of ['*', '*:read', 'keys:read', 'signals:write', 'signals:write:source=b', 'signals:*']) {
      await expect(one.create(limited, { name: 'x', scopes: [scope] }), scope).rejects.toMatchObject({ type: 'Forbidden' });
    }
    for (const scope of ['runs:read', 'runs:*', 'runs:write:type=greet', 'signals:write:source=a']) await one.create(limited, { name: 'x', scopes: [scope] });
    const strong = await one.create(caller(orgId), { name: 'strong', scopes: ['*'] });
    await expect(one.rotate(limited, strong.key.id, 0)).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(one.create(limited, { name: 'x', scopes: ['runs:read extra'] })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(one.create(limited, { name: 'x', scopes: ['runs:read'], expiresAt: new Date(0) })).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('keeps organisations apart', async () => {
    const stranger = caller(await test.organisation());
    const { key } = await one.create(caller(orgId), { name: 'mine', scopes: ['runs:read'] });
    await expect(one.get(stranger, key.id)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(one.revoke(stranger, key.id)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(one.rotate(stranger, key.id, 0)).rejects.toMatchObject({ type: 'NotFound' });
    expect(await one.list(stranger, 10)).toEqual([]);
  });

  it('works with a single connection', async () => {
    const single = new Database({ url: test.url, poolSize: 1, applicationName: 'hal9-test-single' });
    const keys = new ApiKeys(single);
    try {
      keys.start();
      const { secret } = await one.create(caller(orgId), { name: 'single', scopes: ['runs:read'] });
      expect(await keys.authenticate(secret)).toBeDefined();
    } finally {
      await keys.stop();
      await single.close();
    }
  });

  it('writes when a key was last used', async () => {
    const keys = new ApiKeys(test.database);
    keys.start();
    const { key, secret } = await keys.create(caller(orgId), { name: 'used', scopes: ['runs:read'] });
    await keys.authenticate(secret);
    await keys.stop();
    expect((await one.get(caller(orgId), key.id)).lastUsedAt?.getTime()).toBeGreaterThan(Date.now() - 10_000);
  });

  it('hears revocations again after its connection was cut', async () => {
    const owner = new pg.Client({ connectionString: test.url });
    await owner.connect();
    const listening = async (): Promise<number[]> => {
      const { rows } = await owner.query<{ pid: number }>("select pid from pg_stat_activity where query = 'listen hal9_keys' and datname = current_database()");
      return rows.map((row) => row.pid);
    };
    try {
      const before = await listening();
      expect(before.length).toBeGreaterThanOrEqual(2);
      await owner.query('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [before]);
      await expect.poll(async () => (await listening()).filter((pid) => !before.includes(pid)).length).toBe(2);
    } finally {
      await owner.end();
    }
  });
});

describe('bootstrap', () => {
  it('creates one organisation however many ask at once', async () => {
    const test = await createTestDatabase();
    try {
      const made = await Promise.all(Array.from({ length: 6 }, () => bootstrap(test.database)));
      const first = made.filter((one) => one !== undefined);
      expect(first).toHaveLength(1);
      const keys = new ApiKeys(test.database);
      expect(await keys.authenticate(first[0]!.apiKey)).toMatchObject({ orgId: first[0]!.orgId, scopes: ['*'] });
      expect(await bootstrap(test.database)).toBeUndefined();
      expect(first[0]!.ownerToken).toMatch(/^[A-Za-z0-9_-]{43}$/);
    } finally {
      await test.drop();
    }
  });
});
