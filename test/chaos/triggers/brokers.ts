import { setTimeout as sleep } from 'node:timers/promises';
import { Admin, Producer } from '@platformatic/kafka';
import { connect, type ChannelModel, type ConfirmChannel } from 'amqplib';
import type { Kafka } from '../../environment/kafka.ts';
import type { Rabbit } from '../../environment/rabbitmq.ts';

/** What is published: numbered within its key. */
export interface Numbered {
  readonly id: string;
  readonly key: string;
  readonly n: number;
}

/** A broker under test, and a sender that goes on until the broker says that it has what was sent. */
export interface BrokerUnderTest {
  readonly name: 'rabbitmq' | 'kafka';
  readonly connection: Readonly<Record<string, unknown>>;
  readonly source: Readonly<Record<string, unknown>>;
  /** In their order; whatever is sent again after a failure, is sent from the first one on. */
  publish(messages: readonly Numbered[]): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

const RETRY_MS = 300;
const MAPPING = { type: 'chaos.message', idFrom: 'data:/id', partitionKeyFrom: 'data:/key' };

export async function rabbitUnderTest(rabbit: Rabbit, signal: AbortSignal): Promise<BrokerUnderTest> {
  const queue = 'chaos';
  let open: { readonly connection: ChannelModel; readonly channel: ConfirmChannel } | undefined;
  const channel = async (): Promise<ConfirmChannel> => {
    if (open !== undefined) return open.channel;
    const connection = await connect(`amqp://guest:guest@127.0.0.1:${String(rabbit.port)}`, { timeout: 5000 });
    const lost = (): void => {
      open = undefined;
    };
    connection.on('error', lost);
    connection.on('close', lost);
    const made = await connection.createConfirmChannel();
    made.on('error', lost);
    await made.assertQueue(queue, { durable: true });
    open = { connection, channel: made };
    return made;
  };
  await channel();
  return {
    name: 'rabbitmq',
    connection: { kind: 'amqp', host: '127.0.0.1', port: rabbit.port, tls: false, username: 'guest', password: 'guest' },
    source: { kind: 'amqp', queue, mapping: MAPPING },
    publish: (messages) =>
      untilConfirmed(async () => {
        const to = await channel();
        for (const message of messages) to.publish('', queue, Buffer.from(JSON.stringify(message)), { persistent: true, contentType: 'application/json' });
        await Promise.race([to.waitForConfirms(), sleep(10_000).then(() => Promise.reject(new Error('no confirmation')))]);
      }, signal),
    kill: () => rabbit.kill(),
    start: () => rabbit.start(),
    async close() {
      await open?.connection.close();
    },
  };
}

/** @returns also what the group of the source has committed: records whose offsets are behind it. */
export async function kafkaUnderTest(kafka: Kafka, signal: AbortSignal): Promise<BrokerUnderTest & { readonly committed: () => Promise<number> }> {
  const topic = 'chaos';
  const group = 'chaos';
  const options = { clientId: 'chaos', bootstrapBrokers: [kafka.plain], retries: 2, connectTimeout: 2000, requestTimeout: 5000 };
  const admin = new Admin(options);
  await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1 });
  let producer = new Producer({ ...options, acks: -1 });
  return {
    name: 'kafka',
    connection: { kind: 'kafka', brokers: [kafka.plain], tls: false },
    source: { kind: 'kafka', topics: [topic], group, mapping: MAPPING },
    publish: (messages) =>
      untilConfirmed(async () => {
        try {
          await producer.send({ messages: messages.map((message) => ({ topic, key: Buffer.from(message.key), value: Buffer.from(JSON.stringify(message)) })) });
        } catch (error) {
          await producer.close().catch(() => undefined);
          producer = new Producer({ ...options, acks: -1 });
          throw error;
        }
      }, signal),
    async committed() {
      const groups = await admin.listConsumerGroupOffsets({ groups: [group] });
      return groups.flatMap(({ topics }) => topics.flatMap(({ partitions }) => partitions.map(({ committedOffset }) => Math.max(0, Number(committedOffset))))).reduce((sum, offset) => sum + offset, 0);
    },
    kill: () => kafka.kill(),
    start: () => kafka.start(),
    async close() {
      await Promise.all([admin.close(), producer.close()]);
    },
  };
}

/** As a careful sender does: the same again, whatever became of the attempt before. */
async function untilConfirmed(send: () => Promise<void>, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await send();
    } catch {
      await sleep(RETRY_MS, undefined, { signal });
    }
  }
}
