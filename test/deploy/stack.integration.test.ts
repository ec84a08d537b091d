import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { HealthStore } from '../../database/health.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { removeFolder, temporaryFolder } from './launched.ts';

describe('a stack on databases of the user', () => {
  let folder: string;
  let test: TestDatabase;
  let stack: Stack | undefined;
  beforeEach(async () => {
    folder = temporaryFolder();
    test = await createTestDatabase();
  });
  afterEach(async () => {
    await stack?.stop();
    stack = undefined;
    await test.drop();
    removeFolder(folder);
  });
  const start = (settings: Record<string, string> = {}): Promise<Stack> =>
    startStack({ env: { PATH: process.env['PATH'] }, settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', DATABASE_URL: test.url, TEMPORAL_ADDRESS: inject('temporalAddress'), ...settings }, processes: [] });

  it('embeds neither, and watches both', async () => {
    stack = await start();
    expect(stack.processes()).toEqual([]);
    expect([stack.databaseUrl, stack.temporalAddress]).toEqual([test.url, inject('temporalAddress')]);
    const store = new HealthStore(test.database);
    await expect
      .poll(async () => (await store.listForPlatform()).map(({ name, state, detail }) => [name, state, detail]))
      .toEqual([
        ['postgres', 'healthy', 'It answers.'],
        ['temporal', 'healthy', 'It answers.'],
      ]);
    await stack.stop();
    expect(await store.listForPlatform()).toEqual([]);
  });

  it('creates the first organisation once, and keeps keys and ports', async () => {
    stack = await start();
    expect(stack.first?.apiKey).toMatch(/^hal9_/);
    const before = { url: stack.url, keys: stack.environment['HAL9_MASTER_KEYS'], collector: stack.environment['HAL9_COLLECTOR_KEY'] };
    expect(before.keys).toMatch(/^k1:/);
    expect(before.collector).toMatch(/^hal9_/);
    expect(stack.environment['HAL9_AGENT_ORG']).toBe(stack.first?.orgId);
    await stack.stop();
    stack = await start();
    expect(stack.first).toBeUndefined();
    expect({ url: stack.url, keys: stack.environment['HAL9_MASTER_KEYS'], collector: stack.environment['HAL9_COLLECTOR_KEY'] }).toEqual(before);
  });

  it('makes the collector a new key when the database does not know the old one', async () => {
    stack = await start();
    const old = stack.environment['HAL9_COLLECTOR_KEY'];
    await stack.stop();
    const other = await createTestDatabase();
    try {
      stack = await start({ DATABASE_URL: other.url });
      expect(stack.environment['HAL9_COLLECTOR_KEY']).not.toBe(old);
      await stack.stop();
    } finally {
      await other.drop();
    }
  });

  it('leaves settings of the user alone', async () => {
    stack = await start({ HAL9_COLLECTOR_KEY: 'mine', HAL9_COLLECTOR_SCRAPE: 'api=http://127.0.0.1:1/metrics' });
    expect(stack.environment).toMatchObject({ HAL9_COLLECTOR_KEY: 'mine', HAL9_COLLECTOR_SCRAPE: 'api=http://127.0.0.1:1/metrics' });
  });

  it('frees the folder when it cannot start', async () => {
    await expect(start({ DATABASE_URL: 'postgres://nobody:hunter2@127.0.0.1:1/none' })).rejects.toThrow(
      'PostgreSQL at 127.0.0.1:1 cannot be used (ECONNREFUSED): start it, correct DATABASE_URL, or unset it for an embedded one.',
    );
    await expect(start({ TEMPORAL_ADDRESS: '127.0.0.1:1' })).rejects.toThrow(
      'Temporal at 127.0.0.1:1 cannot be reached: start it, correct TEMPORAL_ADDRESS and TEMPORAL_TLS_*, or unset them for an embedded one.',
    );
    await expect(start({ TEMPORAL_NAMESPACE: 'nowhere' })).rejects.toThrow('has no namespace nowhere: create it, or correct TEMPORAL_NAMESPACE.');
    stack = await start();
    expect(() => stack?.kill('api', 'SIGKILL')).toThrow('no process api');
  });

  it('kills and restarts a process that is deaf for too long, and says so', async () => {
    stack = await startStack({
      env: { PATH: process.env['PATH'] },
      settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', DATABASE_URL: test.url, TEMPORAL_ADDRESS: inject('temporalAddress') },
      processes: ['dispatcher'],
      deafMs: 1000,
    });
    const pid = stack.kill('dispatcher', 'SIGSTOP');
    await expect.poll(() => stack?.processes(), { timeout: 40_000, interval: 200 }).toMatchObject([{ name: 'dispatcher', state: 'ready', restarts: 1 }]);
    expect(stack.processes()[0]?.pid).not.toBe(pid);
    const store = new HealthStore(test.database);
    await expect
      .poll(async () => (await store.listRecoveriesForPlatform(10)).map(({ component, action, outcome }) => `${component}: ${action} ${outcome}`))
      .toEqual(expect.arrayContaining(['dispatcher: kill and restart succeeded', 'dispatcher: restart succeeded']));
  });

  it('can be given up', async () => {
    const abort = new AbortController();
    abort.abort(new Error('given up'));
    await expect(startStack({ env: {}, settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', DATABASE_URL: test.url, TEMPORAL_ADDRESS: inject('temporalAddress') }, signal: abort.signal })).rejects.toThrow('given up');
    stack = await start();
  });
});
