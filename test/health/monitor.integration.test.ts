import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConnectionStore, type ConnectionTest } from '../../database/connections.ts';
import { Database } from '../../database/database.ts';
import { HealthStore } from '../../database/health.ts';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { WorkerStore } from '../../database/workers.ts';
import { HealthMonitor, type ComponentCheck } from '../../platform/health/monitor.ts';
import { HealthReader } from '../../platform/health/reader.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import { act } from '../audit/acts.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

/** An organisation that has nothing. */
const NOBODY = '00000000-0000-4000-8000-000000000000';

describe('health', () => {
  let test: TestDatabase;
  let store: HealthStore;
  let server: Server;
  let url: string;
  let status = 200;

  beforeAll(async () => {
    test = await createTestDatabase();
    store = new HealthStore(test.database);
    server = createServer((_request, response) => response.writeHead(status).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    url = typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : '';
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    await test.drop();
  });
  beforeEach(() => {
    status = 200;
  });

  const service = (name: string, recover?: ComponentCheck['recover']): ComponentCheck => ({
    name,
    kind: 'worker',
    dependsOn: [],
    check: async (signal) => {
      const response = await fetch(url, { signal });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`It answers ${response.status}.`);
      return { state: 'healthy', detail: 'It answers.' };
    },
    ...(recover === undefined ? {} : { recover }),
  });

  it('records what it sees; one bad answer is no illness, two are', async () => {
    const monitor = new HealthMonitor({ store });
    monitor.watch(service('patience'));
    const seen: string[] = [];
    for (const answer of [200, 503, 200, 503, 503, 200]) {
      status = answer;
      await monitor.round();
      seen.push((await store.listForPlatform()).find(({ name }) => name === 'patience')?.state ?? 'missing');
    }
    expect(seen).toEqual(['healthy', 'degraded', 'healthy', 'degraded', 'unhealthy', 'healthy']);
    await monitor.stop();
    expect((await store.listForPlatform()).map(({ name }) => name)).not.toContain('patience');
  });

  it('keeps the time a state began', async () => {
    const monitor = new HealthMonitor({ store, failures: 1 });
    monitor.watch(service('since'));
    const since = async (): Promise<Date | undefined> => (await store.listForPlatform()).find(({ name }) => name === 'since')?.since;
    await monitor.round();
    const healthy = await since();
    await monitor.round();
    expect(await since()).toEqual(healthy);
    status = 500;
    await monitor.round();
    expect((await since())!.getTime()).toBeGreaterThan(healthy!.getTime());
    await monitor.stop();
  });

  it('runs the recovery action of what stays sick, and records the outcome', async () => {
    status = 503;
    const monitor = new HealthMonitor({ store, failures: 1 });
    monitor.watch(service('mended', { action: 'restart', afterMs: 0, run: async () => void (status = 200) }));
    monitor.watch({
      name: 'hopeless',
      kind: 'worker',
      dependsOn: [],
      check: () => Promise.reject(new Error('It is broken.')),
      recover: { action: 'restart', afterMs: 0, run: () => Promise.reject(new Error('no spare part')) },
    });
    await monitor.round();
    expect(status).toBe(200);
    await monitor.round();
    expect(monitor.reports().map(({ state }) => state)).toEqual(['healthy', 'unhealthy']);
    const recoveries = await store.listRecoveriesForPlatform(10);
    expect(recoveries.map(({ component, outcome, reason }) => [component, outcome, reason])).toEqual(
      expect.arrayContaining([
        ['mended', 'succeeded', 'It answers 503.'],
        ['hopeless', 'failed', 'It is broken. no spare part'],
      ]),
    );
    await monitor.stop();
  });

  it('waits with the recovery as long as it was told', async () => {
    status = 503;
    let runs = 0;
    const monitor = new HealthMonitor({ store, failures: 1 });
    monitor.watch(service('slow', { action: 'restart', afterMs: 60_000, run: async () => void (runs += 1) }));
    await monitor.round();
    await monitor.round();
    expect(runs).toBe(0);
    await monitor.stop();
  });

  it('calls a check that hangs unhealthy', async () => {
    const monitor = new HealthMonitor({ store, failures: 1, timeoutMs: 50 });
    monitor.watch({ name: 'hanging', kind: 'worker', dependsOn: [], check: () => new Promise(() => undefined) });
    await monitor.round();
    expect(monitor.reports()).toMatchObject([{ state: 'unhealthy', detail: 'It does not answer in time.' }]);
    await monitor.stop();
  });

  it('keeps recoveries until the database is back', async () => {
    // A login to a port where nothing listens stands for a database that is away.
    const away = new Database({ url: `postgres://nobody@127.0.0.1:${await freePort()}/none`, poolSize: 1, applicationName: 'test' });
    const stores = [new HealthStore(away), store];
    const monitor = new HealthMonitor({
      store: { recordForPlatform: (...args) => stores[0]!.recordForPlatform(...args), removeFromPlatform: (names) => stores[0]!.removeFromPlatform(names) },
    });
    monitor.recordRecovery({ component: 'postgres', action: 'restart', reason: 'The process ended by SIGKILL.', outcome: 'succeeded', startedAt: new Date(), endedAt: new Date() });
    await monitor.round();
    stores.shift();
    await monitor.round();
    await monitor.round();
    expect((await store.listRecoveriesForPlatform(100)).filter(({ component }) => component === 'postgres')).toHaveLength(1);
    await monitor.stop();
    await away.close();
  });

  it('takes silence for sickness, and lets it cascade', async () => {
    await store.recordForPlatform(
      [
        { name: 'silent', kind: 'engine', state: 'healthy', detail: 'It answers.', dependsOn: [], since: new Date(), staleSeconds: 1 },
        { name: 'talking', kind: 'worker', state: 'healthy', detail: 'It answers.', dependsOn: ['silent'], since: new Date(), staleSeconds: 600 },
      ],
      [],
    );
    const reader = new HealthReader(store, new WorkerStore(test.database), []);
    await expect.poll(async () => (await reader.read(NOBODY, 0)).components.find(({ name }) => name === 'silent')?.state).toBe('unhealthy');
    expect((await reader.read(NOBODY, 0)).components.find(({ name }) => name === 'talking')).toMatchObject({ state: 'degraded', causes: ['silent'] });
    await store.removeFromPlatform(['silent', 'talking']);
  });

  it('shows the last picture while the database is away, and names it', async () => {
    const own = new Database({ url: test.url, poolSize: 1, applicationName: 'test' });
    await store.recordForPlatform([{ name: 'worker', kind: 'worker', state: 'healthy', detail: 'It answers.', dependsOn: ['postgres'], since: new Date(), staleSeconds: 600 }], []);
    let reachable = true;
    const reader = new HealthReader(new HealthStore(own), new WorkerStore(own), [{ name: 'postgres', check: () => (reachable ? Promise.resolve() : Promise.reject(new Error('gone'))) }]);
    expect(await reader.read(NOBODY, 5)).toMatchObject({ state: 'healthy' });
    reachable = false;
    await own.close();
    const picture = await reader.read(NOBODY, 5);
    expect(picture.state).toBe('unhealthy');
    expect(picture.components.map(({ name, state }) => [name, state])).toEqual([
      ['postgres', 'unhealthy'],
      ['worker', 'degraded'],
    ]);
    await store.removeFromPlatform(['worker']);
  });

  it('shows an organisation its connections and neurons, lets their trouble cascade, and shows them to no other', async () => {
    const [orgId, other] = [await test.organisation(), await test.organisation()];
    const connections = new ConnectionStore(test.database);
    const add = (name: string, outcome: ConnectionTest) => connections.insert(orgId, { id: randomUUID(), name, kind: 'llm', sealed: Buffer.from('x'), test: outcome, updatedBy: 'test:1' }, act(orgId, { action: 'connection.create' }));
    await add('refused', { state: 'failed', testedAt: new Date(), failure: 'The key was refused.' });
    const used = await add('used', { state: 'ok', testedAt: new Date(Date.now() - 60_000), failure: null });
    await add('fresh', { state: 'untested', testedAt: null, failure: null });
    await test.database.withOrg(orgId, (tx) =>
      tx.insertInto('notifications').values({ org_id: orgId, id: randomUUID(), connection_id: used!.id, connection_name: 'used', kind: 'smtp', dedup_key: 'd', action: 'trigger', severity: 'info', title: 't', state: 'failed', attempts: 1, last_failure: 'Mailbox full.' }).execute(),
    );
    const behaviour = { kind: 'http', url: 'http://127.0.0.1:9/', connection: 'refused', rules: [{ when: 'true', emit: { type: 'x' } }] };
    const draft = (name: string) => neuronDraftSchema.parse({ name, layer: 'L2', subscription: { types: ['x'] }, behaviour });
    const neurons = new NeuronStore(test.database);
    const [calm, failing] = [randomUUID(), randomUUID()];
    await neurons.createMany(orgId, [{ id: calm, draft: draft('calm') }, { id: failing, draft: draft('failing') }], 'test', act(orgId, { action: 'neuron.create' }));
    const breakers = new NeuronBreakerStore(test.database);
    for (let call = 0; call < 2; call += 1) await breakers.fail(orgId, failing, { failures: 2, resetSeconds: 60 }, 'no answer');

    const reader = new HealthReader(store, new WorkerStore(test.database), []);
    const mine = (await reader.read(orgId, 0)).components.filter(({ kind }) => kind === 'connection' || kind === 'neuron');
    expect(mine.map(({ name, state, detail, causes }) => [name, state, detail, causes])).toEqual([
      ['connection/fresh', 'healthy', 'Neither tested nor used yet.', []],
      ['connection/refused', 'unhealthy', 'Its last test failed: The key was refused.', []],
      ['connection/used', 'unhealthy', 'Its last message failed: Mailbox full.', []],
      ['neuron/calm', 'degraded', 'Depends on connection/refused, which is unhealthy: Its last test failed: The key was refused.', ['connection/refused']],
      ['neuron/failing', 'degraded', 'Its last 2 calls failed: no answer. Its circuit breaker is open: it is not called.', ['connection/refused']],
    ]);
    expect((await reader.read(other, 0)).components.filter(({ kind }) => kind === 'connection' || kind === 'neuron')).toEqual([]);
  });

  it('shows background processes by their heartbeats, and what rests on a sick database', async () => {
    const workers = new WorkerStore(test.database);
    const beat = (process: string, pid: number) => workers.beat({ id: `m/${pid}/1`, process, host: 'm', pid, queues: process === 'host' ? ['host-m'] : ['core'], build: 'b', startedAt: new Date() });
    await Promise.all([beat('core', 10), beat('host', 20)]);
    await sql`update workers set last_seen = now() - interval '1 minute' where id = 'm/10/1'`.execute(test.database.system);
    const seen = (await new HealthReader(store, workers, [{ name: 'postgres', check: () => Promise.reject(new Error('gone')) }]).read(NOBODY, 0)).components;
    expect(seen.map(({ name, state }) => [name, state])).toEqual([['agent/m', 'degraded'], ['postgres', 'unhealthy'], ['worker/core/m/10', 'unhealthy']]);
    await Promise.all(['m/10/1', 'm/20/1'].map((id) => workers.remove(id)));
  });

  it('is invisible to the role of requests', async () => {
    await store.recordForPlatform([{ name: 'hidden', kind: 'worker', state: 'healthy', detail: 'x', dependsOn: [], since: new Date(), staleSeconds: 600 }], []);
    const orgId = await test.organisation();
    expect(await test.database.withOrg(orgId, (tx) => tx.selectFrom('health_components').select('name').execute())).toEqual([]);
    await store.removeFromPlatform(['hidden']);
  });
});
