import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ChannelModel, type ConfirmChannel, type Options } from 'amqplib';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SourceStore, type StoredSource } from '../../database/broker-sources.ts';
import { SignalStore } from '../../database/signals.ts';
import { BrokerIntake } from '../../platform/brokers/intake.ts';
import { Sources } from '../../platform/brokers/sources.ts';
import { connectAmqp } from '../../platform/connections/amqp.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SignalIngest } from '../../platform/signals/ingest.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { IngestMetrics } from '../../platform/signals/metrics.ts';
import { sourceDraftSchema, type AmqpSourceDraft } from '../../schemas/brokers/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import { consumeQueue, type AmqpConsumerParts } from '../../workers/consumers/amqp-consumer.ts';
import { keepLeases } from '../../workers/consumers/lease-keeper.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { findRabbit, RABBITMQ_MISSING, startRabbit, type Rabbit } from '../environment/rabbitmq.ts';

const tool = await findRabbit();
if (tool === undefined) {
  if (process.env['CI'] !== undefined) throw new Error(RABBITMQ_MISSING);
  process.stderr.write(`${RABBITMQ_MISSING}\n`);
}
type AmqpSource = StoredSource<AmqpSourceDraft>;

const logger = pino({ level: 'silent' });
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);

describe.skipIf(tool === undefined)('an AMQP source', () => {
  let folder: string;
  let rabbit: Rabbit;
  let test: TestDatabase;
  let egress: Egress;
  let ingest: SignalIngest;
  let intake: BrokerIntake;
  let connections: Connections;
  let sources: Sources;
  let store: SourceStore;
  let publisher: ChannelModel;
  let channel: ConfirmChannel;
  let caller: Caller;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-rabbit-'));
    await chmod(folder, 0o755);
    if (tool === undefined) return;
    [rabbit, test] = await Promise.all([startRabbit(tool, folder), createTestDatabase()]);
    egress = new Egress({ allowPrivate: true });
    ingest = new SignalIngest(new SignalStore(test.database), new IngestMetrics(new Registry()));
    intake = new BrokerIntake({ database: test.database, ingest, lanes: new LaneChooser(4), keys });
    connections = new Connections({ database: test.database, keys, egress });
    sources = new Sources({ database: test.database, connections, intake });
    store = new SourceStore(test.database);
    caller = systemCaller(await test.organisation(), 'test');
    await connections.create(caller, { name: 'rabbit', settings: settings('guest') }, { test: true, signal: AbortSignal.timeout(20_000) });
    await openPublisher();
  });
  afterAll(async () => {
    await publisher?.close();
    await rabbit?.stop();
    await ingest?.close();
    await egress?.close();
    await test?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  function settings(password: string) {
    return { kind: 'amqp' as const, host: '127.0.0.1', port: rabbit.port, tls: false, username: 'guest', password, vhost: '/' };
  }

  async function openPublisher(): Promise<void> {
    publisher = await connect(`amqp://guest:guest@127.0.0.1:${String(rabbit.port)}`);
    // The broker is killed on purpose.
    publisher.on('error', () => undefined);
    channel = await publisher.createConfirmChannel();
    channel.on('error', () => undefined);
  }

  async function sourceOf(parts: Readonly<Record<string, unknown>> = {}): Promise<AmqpSource> {
    const queue = `q-${randomUUID()}`;
    await channel.assertQueue(queue, { durable: true });
    const source = await sources.create(caller, sourceDraftSchema.parse({ kind: 'amqp', name: queue, connection: 'rabbit', queue, ...parts }));
    if (source.draft.kind !== 'amqp') throw new Error('not what was asked for');
    return { ...source, draft: source.draft };
  }

  async function publish(source: AmqpSource, body: unknown, options: Options.Publish = {}): Promise<void> {
    channel.publish('', source.draft.queue, Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body)), { persistent: true, contentType: 'application/json', ...options });
    await channel.waitForConfirms();
  }

  function consuming(source: AmqpSource, more: Partial<AmqpConsumerParts> = {}) {
    const stop = new AbortController();
    const done = consumeQueue(
      {
        source, intake, logger,
        connect: () => connectAmqp(egress, settings('guest'), 10_000),
        gate: () => Promise.resolve(),
        onState: (state, failure) => store.noteState(source.orgId, source.id, state, failure),
        onTaken: () => undefined,
        ...more,
      },
      stop.signal,
    );
    return {
      async stop() {
        stop.abort();
        await done;
      },
    };
  }

  async function signals(source: StoredSource): Promise<Record<string, unknown>[]> {
    const { rows } = await test.database.withOrgClient(caller.orgId, (client) => client.query<{ envelope: string }>('select envelope from signals where source like $1 order by chunk_id, ordinal', [`/sources/${source.id}%`]));
    return rows.map(({ envelope }) => JSON.parse(envelope) as Record<string, unknown>);
  }

  async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
    for (let attempt = 0; attempt < 2000; attempt++) {
      const found = await what();
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('it never came');
  }

  const come = (source: StoredSource, count: number) => until(async () => {
    const found = await signals(source);
    return found.length >= count ? found : undefined;
  });
  const emptied = (queue: string) => until(async () => ((await channel.checkQueue(queue)).messageCount === 0 ? true : undefined));

  it('refuses a wrong password in words that do not repeat it, and a connection of another kind', async () => {
    await expect(connections.create(caller, { name: 'wrong', settings: settings('hunter2') }, { test: true, signal: AbortSignal.timeout(20_000) })).rejects.toThrow(/^(?!.*hunter2).*the broker refuses the user/);
    await expect(sourceOf({ connection: 'nothing' })).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('maps messages, reads CloudEvents in both modes, and lets none pass for another source', async () => {
    const source = await sourceOf({ mapping: { type: 'order.placed', partitionKeyFrom: 'data:/customer', subjectFrom: 'header:region' } });
    const consumer = consuming(source);
    await publish(source, { customer: 'c1', total: 3 }, { messageId: 'm1', headers: { region: 'eu' } });
    await publish(source, { specversion: '1.0', id: 'e1', source: '/hooks/forged', type: 'made.elsewhere', data: 1 }, { contentType: 'application/cloudevents+json' });
    await publish(source, { n: 2 }, { headers: { 'cloudEvents:specversion': '1.0', 'cloudEvents:id': 'e2', 'cloudEvents_source': 'shop', 'cloudEvents:type': 'binary.mode' } });
    const [mapped, structured, binary] = (await come(source, 3)).toSorted((a, b) => String(b['id']).localeCompare(String(a['id'])));
    expect(mapped).toMatchObject({ id: 'm1', source: `/sources/${source.id}`, type: 'order.placed', partitionkey: 'c1', subject: 'eu', data: { customer: 'c1', total: 3 } });
    expect([structured?.['source'], binary?.['source']].map(String).toSorted()).toEqual([`/sources/${source.id}//hooks/forged`, `/sources/${source.id}/shop`]);
    await consumer.stop();
  });

  it('takes a message in once, by its id or by what it says', async () => {
    const source = await sourceOf();
    const consumer = consuming(source);
    for (let time = 0; time < 2; time++) await publish(source, { a: 1 }, { messageId: 'same' });
    for (let time = 0; time < 2; time++) await publish(source, { b: 1 });
    await publish(source, { last: true });
    await come(source, 3);
    await emptied(source.draft.queue);
    await consumer.stop();
    expect(await signals(source)).toHaveLength(3);
  });

  it('buries what is no signal with its cause, publishes it to the dead-letter queue, and takes it in after the mapping was mended', async () => {
    const letters = `dead-${randomUUID()}`;
    await channel.assertQueue(letters, { durable: true });
    const source = await sourceOf({ deadLetter: { routingKey: letters }, mapping: { typeFrom: 'data:/kind' } });
    const consumer = consuming(source);
    await publish(source, Buffer.from('{"cut":'), { messageId: 'poison' });
    await publish(source, { kind: 'x'.repeat(300) }, { messageId: 'long' });
    await publish(source, { kind: 'fine' }, { messageId: 'fine' });
    await come(source, 1);
    await emptied(source.draft.queue);
    await consumer.stop();
    const buried = await sources.deadLetters(caller, source.id, 10);
    expect(buried.map(({ cause }) => cause).toSorted()).toEqual([expect.stringContaining('/type'), 'the body is not JSON (cut off, or malformed)']);
    const published = await channel.get(letters, { noAck: true });
    expect(published === false ? undefined : published.properties.headers?.['x-hal9-cause']).toBeDefined();
    const long = buried.find(({ cause }) => cause.includes('/type'));
    await expect(sources.replay(caller, source.id, long?.id ?? '')).rejects.toMatchObject({ type: 'InvalidInput' });
    await sources.replace(caller, source.id, 1, { ...source.draft, mapping: { type: 'mended', idFrom: 'message-id' } });
    await sources.replay(caller, source.id, long?.id ?? '');
    await sources.replay(caller, source.id, long?.id ?? '');
    expect((await signals(source)).map(({ id }) => String(id)).toSorted()).toEqual(['fine', 'long']);
  });

  it('acknowledges nothing while the database or Temporal is away, then catches up', async () => {
    const source = await sourceOf();
    let away = true;
    let asked = 0;
    const consumer = consuming(source, {
      intake: {
        take: (of, messages) => {
          asked += 1;
          return away ? Promise.reject(new HalError('DependencyUnavailable', 'away')) : intake.take(of, messages);
        },
      },
    });
    for (let n = 0; n < 20; n++) await publish(source, { n }, { messageId: `n${String(n)}` });
    await until(async () => (asked >= 2 ? true : undefined));
    expect(await signals(source)).toEqual([]);
    await consumer.stop();
    // What was not acknowledged is there again.
    await until(async () => ((await channel.checkQueue(source.draft.queue)).messageCount === 20 ? true : undefined));
    away = false;
    const again = consuming(source);
    await come(source, 20);
    await again.stop();
  });

  it('loses nothing, doubles nothing and keeps the order of each key while the broker is killed', async () => {
    const source = await sourceOf({ prefetch: 50, mapping: { partitionKeyFrom: 'data:/key' } });
    const consumer = consuming(source);
    for (let n = 0; n < 300; n++) {
      channel.publish('', source.draft.queue, Buffer.from(JSON.stringify({ key: `k${String(n % 7)}`, n })), { persistent: true, contentType: 'application/json', messageId: String(n) });
    }
    await channel.waitForConfirms();
    await rabbit.kept(source.draft.queue);
    await rabbit.kill();
    await rabbit.start();
    await openPublisher();
    for (let n = 300; n < 400; n++) await publish(source, { key: `k${String(n % 7)}`, n }, { messageId: String(n) });
    const all = await come(source, 400);
    await consumer.stop();
    expect(all).toHaveLength(400);
    for (const [, ofKey] of Map.groupBy(all, ({ partitionkey }) => partitionkey)) {
      const numbers = ofKey.map(({ id }) => Number(id));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  });

  it('is shared out among processes, and handed over when one ends', async () => {
    for (const { id } of await sources.list(caller, 100)) await sources.remove(caller, id);
    const made = [await sourceOf(), await sourceOf()];
    const held: Record<string, string[]> = { a: [], b: [] };
    const stops = { a: new AbortController(), b: new AbortController() };
    const keep = (name: 'a' | 'b') =>
      keepLeases({ store, logger, consume: (source, signal) => {
        held[name]?.push(source.id);
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      } }, stops[name].signal);
    const running = [keep('a'), keep('b')];
    await until(async () => (held['a']?.length === 1 && held['b']?.length === 1 ? true : undefined));
    expect([...(held['a'] ?? []), ...(held['b'] ?? [])].toSorted()).toEqual(made.map(({ id }) => id).toSorted());
    stops.a.abort();
    await running[0];
    await until(async () => (held['b']?.length === 2 ? true : undefined));
    stops.b.abort();
    await running[1];
  });
});
