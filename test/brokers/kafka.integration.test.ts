import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Admin, Consumer, Producer } from '@platformatic/kafka';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SourceStore, type StoredSource } from '../../database/broker-sources.ts';
import { SignalStore } from '../../database/signals.ts';
import { BrokerIntake } from '../../platform/brokers/intake.ts';
import { Sources } from '../../platform/brokers/sources.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { connectKafka, explainKafkaFailure } from '../../platform/connections/kafka.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SignalIngest } from '../../platform/signals/ingest.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { IngestMetrics } from '../../platform/signals/metrics.ts';
import { sourceDraftSchema, type KafkaSourceDraft } from '../../schemas/brokers/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import { connectionSettings, kafkaSettings } from '../../schemas/rest/connections.ts';
import { consumeTopics, type KafkaConsumerParts } from '../../workers/consumers/kafka-consumer.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { findKafka, KAFKA_MISSING, startKafka, type Kafka } from '../environment/kafka.ts';

const tool = await findKafka();
if (tool === undefined) {
  if (process.env['CI'] !== undefined) throw new Error(KAFKA_MISSING);
  process.stderr.write(`${KAFKA_MISSING}\n`);
}
const logger = pino({ level: 'silent' });
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
const PARTITIONS = 3;

type KafkaSource = StoredSource<KafkaSourceDraft>;
interface Sent {
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

describe.skipIf(tool === undefined)('a Kafka source', () => {
  let folder: string;
  let kafka: Kafka;
  let test: TestDatabase;
  let egress: Egress;
  let ingest: SignalIngest;
  let intake: BrokerIntake;
  let connections: Connections;
  let sources: Sources;
  let store: SourceStore;
  let admin: Admin;
  let producer: Producer;
  let caller: Caller;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-kafka-'));
    if (tool === undefined) return;
    [kafka, test] = await Promise.all([startKafka(tool, folder), createTestDatabase()]);
    egress = new Egress({ allowPrivate: true });
    ingest = new SignalIngest(new SignalStore(test.database), new IngestMetrics(new Registry()));
    intake = new BrokerIntake({ database: test.database, ingest, lanes: new LaneChooser(4), keys });
    connections = new Connections({ database: test.database, keys, egress });
    sources = new Sources({ database: test.database, connections, intake });
    store = new SourceStore(test.database);
    caller = systemCaller(await test.organisation(), 'test');
    await connections.create(caller, { name: 'cluster', settings: secure() }, { test: true, signal: AbortSignal.timeout(20_000) });
    const client = { clientId: 'test', bootstrapBrokers: [kafka.plain], retries: 20 };
    admin = new Admin(client);
    producer = new Producer({ ...client, idempotent: true });
  });
  afterAll(async () => {
    await Promise.all([admin?.close(), producer?.close()]);
    await kafka?.stop();
    await ingest?.close();
    await egress?.close();
    await test?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const secure = (parts: Readonly<Record<string, unknown>> = {}) => kafkaSettings.parse({ kind: 'kafka', brokers: [kafka.secure], ca: kafka.ca, username: 'hal9', password: kafka.password, ...parts });
  const trial = (settings: ReturnType<typeof secure>) => connections.create(caller, { name: `c-${randomUUID()}`, settings }, { test: true, signal: AbortSignal.timeout(30_000) });

  async function topicOf(): Promise<string> {
    const topic = `t-${randomUUID()}`;
    await admin.createTopics({ topics: [topic], partitions: PARTITIONS, replicas: 1 });
    return topic;
  }

  async function sourceOf(parts: Readonly<Record<string, unknown>> = {}): Promise<KafkaSource> {
    const topic = await topicOf();
    const source = await sources.create(caller, sourceDraftSchema.parse({ kind: 'kafka', name: topic, connection: 'cluster', topics: [topic], ...parts }));
    if (source.draft.kind !== 'kafka') throw new Error('not what was asked for');
    return { ...source, draft: source.draft };
  }

  async function send(source: KafkaSource, body: unknown, { key, headers = { 'content-type': 'application/json' } }: Sent = {}): Promise<void> {
    const value = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const topic = source.draft.topics[0] ?? '';
    await producer.send({ messages: [{ topic, value, headers: new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)])), ...(key === undefined ? {} : { key: Buffer.from(key) }) }] });
  }

  /** Numbered by key, in order. */
  async function sendMany(source: KafkaSource, from: number, to: number): Promise<void> {
    for (let n = from; n < to; n += 50) {
      await producer.send({
        messages: Array.from({ length: Math.min(50, to - n) }, (_, index) => ({ topic: source.draft.topics[0] ?? '', key: Buffer.from(`k${String((n + index) % 7)}`), value: Buffer.from(JSON.stringify({ n: n + index })) })),
      });
    }
  }

  function consuming(source: KafkaSource, more: Partial<KafkaConsumerParts> = {}) {
    const stop = new AbortController();
    const done = consumeTopics(
      {
        source, intake, logger,
        connect: () => connectKafka(egress, secure(), 10_000),
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

  async function signals(source: KafkaSource): Promise<Record<string, unknown>[]> {
    const { rows } = await test.database.withOrgClient(caller.orgId, (client) => client.query<{ envelope: string }>('select envelope from signals where source like $1 order by chunk_id, ordinal', [`/sources/${source.id}%`]));
    return rows.map(({ envelope }) => JSON.parse(envelope) as Record<string, unknown>);
  }

  async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
    for (let attempt = 0; attempt < 1200; attempt++) {
      const found = await what();
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('it never came');
  }

  const come = (source: KafkaSource, count: number) => until(async () => {
    const found = await signals(source);
    return found.length >= count ? found : undefined;
  });
  const connected = (source: KafkaSource) => until(async () => ((await store.find(source.orgId, source.id))?.state === 'connected' ? true : undefined));

  /** Records whose offset the group has committed. */
  async function committed(source: KafkaSource): Promise<number> {
    const [group] = await admin.listConsumerGroupOffsets({ groups: [`hal9-${source.id}`] });
    return (group?.topics ?? []).flatMap(({ partitions }) => partitions.map(({ committedOffset }) => Math.max(0, Number(committedOffset)))).reduce((sum, offset) => sum + offset, 0);
  }

  function inOrder(all: readonly Record<string, unknown>[]): void {
    for (const [, ofKey] of Map.groupBy(all, ({ partitionkey }) => partitionkey)) {
      const numbers = ofKey.map(({ data }) => Number((data as { n: number }).n));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  }

  it('refuses what cannot work, in words that repeat no secret', async () => {
    await expect(trial(secure({ password: 'hunter2' }))).rejects.toThrow(/^(?!.*hunter2).*the broker refuses the user or the password/);
    await expect(trial(secure({ ca: kafka.otherCa }))).rejects.toThrow(/the certificate of the host is not trusted/);
    await expect(trial(secure({ tls: false, ca: undefined }))).rejects.toThrow(/check the port and whether it speaks TLS/);
    await expect(sourceOf({ connection: 'nothing' })).rejects.toMatchObject({ type: 'InvalidInput' });
    expect(connectionSettings.safeParse({ ...secure(), password: undefined }).success).toBe(false);
    expect((await connections.list(caller, 10)).find(({ name }) => name === 'cluster')).toMatchObject({ state: 'ok', secrets: ['password'], settings: { username: 'hal9', mechanism: 'scram-sha-512' } });
  });

  it('reaches no private address, neither one that is named nor one that the cluster tells', async () => {
    const strict = new Egress({ allowPrivate: false, resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]) });
    for (const tls of [true, false]) await expect(connectKafka(strict, secure({ tls }), 1000)).rejects.toThrow('the address is private or reserved');
    await expect(connectKafka(strict, secure({ tls: false, brokers: [`broker.example:${kafka.plain.split(':')[1] ?? ''}`] }), 1000)).rejects.toThrow('private or reserved');
    const byName = await connectKafka(strict, secure({ brokers: [`broker.example:${kafka.secure.split(':')[1] ?? ''}`] }), 1000);
    const refused = byName.admin();
    expect(explainKafkaFailure(await refused.metadata({ topics: [] }).catch((error: unknown) => error)).message).toContain('private or reserved address');
    await refused.close();
    // A public name that the cluster answers for with its own, private address.
    let asked = 0;
    const fickle = { lookup: egress.lookup, address: (host: string) => (asked++ === 0 ? egress.address(host) : strict.address(host)) };
    const told = (await connectKafka(Object.assign(Object.create(egress), fickle), secure({ tls: false, brokers: [kafka.plain], username: undefined, password: undefined, ca: undefined }), 1000)).admin();
    expect(explainKafkaFailure(await told.metadata({ topics: [] }).catch((error: unknown) => error)).message).toContain('private or reserved');
    await told.close();
    await strict.close();
  });

  it('maps records, reads CloudEvents in both modes, and lets none pass for another source', async () => {
    const source = await sourceOf({ mapping: { type: 'order.placed', subjectFrom: 'header:region' } });
    const consumer = consuming(source);
    await send(source, { total: 3 }, { key: 'c1', headers: { 'content-type': 'application/json', region: 'eu' } });
    await send(source, { specversion: '1.0', id: 'e1', source: '/hooks/forged', type: 'made.elsewhere', data: 1 }, { key: 'c2', headers: { 'content-type': 'application/cloudevents+json' } });
    await send(source, { n: 2 }, { headers: { 'content-type': 'application/json', ce_specversion: '1.0', ce_id: 'e2', ce_source: 'shop', ce_type: 'binary.mode', ce_partitionkey: 'own' } });
    const all = await come(source, 3);
    await consumer.stop();
    const named = (type: string) => all.find((signal) => signal['type'] === type);
    expect(named('order.placed')).toMatchObject({ source: `/sources/${source.id}`, partitionkey: 'c1', subject: 'eu', data: { total: 3 }, id: expect.stringMatching(/^[0-9a-f-]{36}\/\d\/0\/\d+$/) });
    expect(named('made.elsewhere')).toMatchObject({ id: 'e1', source: `/sources/${source.id}//hooks/forged`, partitionkey: 'c2', data: 1 });
    expect(named('binary.mode')).toMatchObject({ id: 'e2', source: `/sources/${source.id}/shop`, partitionkey: 'own', data: { n: 2 } });
  });

  it('takes the same words twice as two, and begins where it was told to', async () => {
    const late = await sourceOf({ from: 'latest' });
    await send(late, { before: true });
    const first = consuming(late);
    await connected(late);
    await first.stop();
    // Between two consumers nothing is lost, although the group has taken nothing in yet.
    await send(late, { same: true });
    await send(late, { same: true });
    const second = consuming(late);
    const found = await come(late, 2);
    await second.stop();
    expect(found.map(({ data }) => data)).toEqual([{ same: true }, { same: true }]);
  });

  it('buries what is no signal with its cause, sends it to the dead-letter topic, and takes it in after the mapping was mended', async () => {
    const letters = await topicOf();
    const source = await sourceOf({ deadLetter: { topic: letters }, mapping: { typeFrom: 'data:/kind', idFrom: 'key' } });
    const consumer = consuming(source);
    await send(source, Buffer.from('{"cut":'), { key: 'poison' });
    await send(source, { kind: 'x'.repeat(300) }, { key: 'long' });
    await send(source, { kind: 'fine' }, { key: 'fine' });
    await come(source, 1);
    await until(async () => ((await committed(source)) === 3 ? true : undefined));
    await consumer.stop();
    const buried = await sources.deadLetters(caller, source.id, 10);
    expect(buried.map(({ cause }) => cause).toSorted()).toEqual([expect.stringContaining('/type'), 'the body is not JSON (cut off, or malformed)']);
    const causes = await readAll(letters, 2);
    expect(causes.map((record) => String(record.headers.get('x-hal9-cause'))).toSorted()).toEqual([expect.stringContaining('/type'), 'the body is not JSON (cut off, or malformed)']);
    const long = buried.find(({ cause }) => cause.includes('/type'));
    await expect(sources.replay(caller, source.id, long?.id ?? '')).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(sources.replace(caller, randomUUID(), 1, { ...source.draft, connection: 'nothing' })).rejects.toMatchObject({ type: 'NotFound' });
    await sources.replace(caller, source.id, 1, { ...source.draft, mapping: { type: 'mended', idFrom: 'key' } });
    await sources.replay(caller, source.id, long?.id ?? '');
    await sources.replay(caller, source.id, long?.id ?? '');
    expect((await signals(source)).map(({ id, partitionkey }) => `${String(id)} ${String(partitionkey)}`).toSorted()).toEqual(['fine fine', 'long long']);
  });

  it('commits no offset while the database or Temporal is away, then catches up', async () => {
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
    await sendMany(source, 0, 20);
    await until(async () => (asked >= 2 ? true : undefined));
    expect(await signals(source)).toEqual([]);
    expect(await committed(source)).toBe(0);
    away = false;
    await come(source, 20);
    await until(async () => ((await committed(source)) === 20 ? true : undefined));
    await consumer.stop();
  });

  it('loses nothing, doubles nothing and keeps the order of each key through a rebalance, a killed broker and a consumer that takes over', async () => {
    const source = await sourceOf();
    const group = `hal9-${source.id}`;
    const first = consuming(source);
    await sendMany(source, 0, 200);
    await come(source, 1);
    // Somebody else joins the group and takes partitions away, then leaves without having committed anything.
    const stranger = new Consumer({ clientId: 'stranger', bootstrapBrokers: [kafka.plain], groupId: group, sessionTimeout: 10_000, heartbeatInterval: 500, autocommit: false });
    const stream = await stranger.consume({ topics: [...source.draft.topics], mode: 'committed', fallbackMode: 'earliest', autocommit: false });
    stream.on('data', () => undefined);
    await until(() => Promise.resolve((stranger.assignments ?? []).length > 0 ? true : undefined));
    await sendMany(source, 200, 400);
    await stream.close();
    await stranger.close(true);
    await kafka.kill();
    await kafka.start();
    await sendMany(source, 400, 500);
    // A second consumer of the same source, as when a lease passes from a process that does not know yet: both run for a while.
    const second = consuming(source);
    await sendMany(source, 500, 600);
    await first.stop();
    const all = await come(source, 600);
    await until(async () => ((await committed(source)) === 600 ? true : undefined));
    await second.stop();
    expect(await signals(source)).toHaveLength(600);
    expect(new Set(all.map(({ data }) => (data as { n: number }).n)).size).toBe(600);
    inOrder(all);
  });

  /** Records of a topic, read by a stranger. */
  async function readAll(topic: string, count: number) {
    const reader = new Consumer({ clientId: 'reader', bootstrapBrokers: [kafka.plain], groupId: `reader-${randomUUID()}`, deserializers: { headerKey: (name?: Buffer) => String(name), headerValue: (value?: Buffer) => String(value) }, autocommit: false });
    const stream = await reader.consume({ topics: [topic], mode: 'earliest', autocommit: false });
    const records: { readonly headers: ReadonlyMap<string, string> }[] = [];
    stream.on('data', (record) => records.push(record));
    await until(() => Promise.resolve(records.length >= count ? true : undefined));
    await stream.close();
    await reader.close(true);
    return records;
  }
});
