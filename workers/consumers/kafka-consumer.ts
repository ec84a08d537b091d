import { setTimeout as sleep } from 'node:timers/promises';
import type { Consumer, Message, MessagesStream, Producer } from '@platformatic/kafka';
import type { Poison } from '../../platform/brokers/intake.ts';
import type { BrokerMessage } from '../../platform/brokers/message.ts';
import { explainKafkaFailure, type KafkaClients } from '../../platform/connections/kafka.ts';
import type { KafkaSourceDraft } from '../../schemas/brokers/definition.ts';
import { keepConsuming, takenIn, type SourceConsumerParts } from './source-consumer.ts';

/** Most records of a commit. */
const BATCH = 500;
/** How long a session waits for more before it takes less than a batch, ms. */
const LINGER_MS = 5;
/** Time the cluster has to answer the end of a session, ms. */
const FAREWELL_MS = 3_000;

export interface KafkaConsumerParts extends SourceConsumerParts<KafkaSourceDraft> {
  readonly connect: () => Promise<KafkaClients>;
}

/**
 * Consumes topics until the signal aborts, whatever the cluster does meanwhile. An offset is committed once everything before it is in.
 *
 * Order and rebalances: what is taken in is always a piece of a partition that begins at an offset which was committed, or right behind one
 * that was taken in. So a member that does not know yet that a partition is another's takes in what is in already, or what comes next;
 * the id of a record (its place) lets it be a signal once, and pieces that overlap cannot change the order.
 */
export async function consumeTopics(parts: KafkaConsumerParts, signal: AbortSignal): Promise<void> {
  await keepConsuming(parts, explainKafkaFailure, (onConnected) => session(parts, onConnected, signal), signal);
}

/** From connecting to the end of the membership. */
async function session(parts: KafkaConsumerParts, onConnected: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const { id, draft } = parts.source;
  const clients = await parts.connect();
  const consumer = clients.consumer(draft.group ?? `hal9-${id}`);
  const producer = draft.deadLetter === undefined ? undefined : clients.producer();
  // The library tells of heartbeats and brokers that failed here as well; what cannot go on ends the stream.
  consumer.on('error', () => undefined);
  try {
    const stream = await consumer.consume({ topics: [...draft.topics], mode: 'committed', fallbackMode: draft.from, autocommit: false });
    try {
      await new Reader(parts, { consumer, producer, stream }).run(onConnected, signal);
    } finally {
      await farewell(parts, () => stream.close());
    }
  } finally {
    await farewell(parts, () => consumer.close(true));
    if (producer !== undefined) await farewell(parts, () => producer.close());
  }
}

/** A cluster that is gone answers no farewell: the membership ends with its time. */
async function farewell({ logger, source }: KafkaConsumerParts, close: () => Promise<void>): Promise<void> {
  const closing = close().catch((error: unknown) => logger.debug({ source: source.id, reason: explainKafkaFailure(error).message }, 'a client was not closed properly'));
  await Promise.race([closing, sleep(FAREWELL_MS)]);
}

/** Reads a stream to its end. */
class Reader {
  readonly #parts: KafkaConsumerParts;
  readonly #consumer: Consumer;
  readonly #producer: Producer | undefined;
  readonly #stream: MessagesStream<Buffer, Buffer, Buffer, Buffer>;
  readonly #lives = new Map<string, string>();
  readonly #ended = new AbortController();
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(parts: KafkaConsumerParts, { consumer, producer, stream }: { consumer: Consumer; producer: Producer | undefined; stream: MessagesStream<Buffer, Buffer, Buffer, Buffer> }) {
    this.#parts = parts;
    this.#consumer = consumer;
    this.#producer = producer;
    this.#stream = stream;
  }

  async run(onConnected: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#end(undefined);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    // From the beginning: a failure may come before anybody reads.
    this.#stream.on('error', (error) => this.#end(error));
    this.#stream.on('close', () => this.#end(new Error('the stream ended')));
    this.#stream.on('readable', () => this.#wake?.());
    try {
      // Where it begins is kept at once: `latest` must not mean a later time after a crash.
      await this.#started();
      await this.#commit([...this.#stream.offsetsToFetch].map(([place, offset]) => startOf(place, offset)));
      await onConnected();
      await this.#work();
    } finally {
      signal.removeEventListener('abort', stop);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** It has asked where to begin, or has ended. */
  async #started(): Promise<void> {
    if (this.#stream.offsetsToFetch.size > 0 || this.#ended.signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#stream.once('offsets', resolve);
    });
  }

  #end(failure: unknown): void {
    // The first says why; a stop that was asked for is no failure.
    if (!this.#ended.signal.aborted) this.#failure = failure;
    this.#ended.abort();
    this.#wake?.();
  }

  async #work(): Promise<void> {
    const ended = this.#ended.signal;
    while (!ended.aborted) {
      const records = this.#read(BATCH);
      if (records.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      if (records.length < BATCH) {
        await sleep(LINGER_MS);
        records.push(...this.#read(BATCH - records.length));
      }
      const poison = await takenIn(this.#parts, records.map((record) => this.#messageOf(record)), ended);
      if (poison === undefined) return;
      await this.#bury(poison);
      await this.#commit(nextOf(records));
      this.#parts.onTaken(records.length, poison.length);
    }
  }

  #read(most: number): Message[] {
    const records: Message[] = [];
    while (records.length < most) {
      const record: Message | null = this.#stream.read();
      if (record === null) break;
      records.push(record);
    }
    return records;
  }

  /** Only of partitions that are this member's: those of others are theirs to move. */
  async #commit(offsets: readonly Place[]): Promise<void> {
    const assigned = new Set((this.#consumer.assignments ?? []).flatMap(({ topic, partitions }) => partitions.map((partition) => placeOf(topic, partition))));
    const own = offsets.filter(({ topic, partition }) => assigned.has(placeOf(topic, partition)));
    if (own.length > 0) await this.#consumer.commit({ offsets: own });
  }

  async #bury(poison: readonly Poison[]): Promise<void> {
    const target = this.#parts.source.draft.deadLetter;
    if (target === undefined || this.#producer === undefined || poison.length === 0) return;
    await this.#producer.send({
      messages: poison.map(({ message, cause }) => ({
        topic: target.topic,
        ...(message.key === undefined ? {} : { key: Buffer.from(message.key) }),
        value: message.body,
        headers: new Map(Object.entries({ ...message.headers, 'x-hal9-cause': cause }).map(([name, value]) => [Buffer.from(name), Buffer.from(value)])),
      })),
    });
  }

  #messageOf({ topic, partition, offset, timestamp, key, value, headers }: Message): BrokerMessage {
    const texts = Object.fromEntries([...headers].map(([name, text]) => [String(name), text === null ? '' : String(text)]));
    return {
      body: value ?? Buffer.alloc(0),
      contentType: texts['content-type'],
      messageId: `${this.#lifeOf(topic)}/${String(partition)}/${String(offset)}/${String(timestamp)}`,
      ...(key === null || key === undefined ? {} : { key: String(key) }),
      route: topic,
      headers: texts,
    };
  }

  /** Cluster's id of the topic: one that was deleted and made again counts its offsets anew. (A partition whose end was lost does so too, hence the time.) */
  #lifeOf(topic: string): string {
    const known = this.#consumer.currentMetadata?.topics.get(topic)?.id ?? this.#lives.get(topic);
    if (known === undefined) throw new Error('the cluster did not say which topic this is');
    this.#lives.set(topic, known);
    return known;
  }
}

interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly leaderEpoch: number;
}

function placeOf(topic: string, partition: number): string {
  return `${topic}:${String(partition)}`;
}

function startOf(place: string, offset: bigint): Place {
  const colon = place.lastIndexOf(':');
  return { topic: place.slice(0, colon), partition: Number(place.slice(colon + 1)), offset, leaderEpoch: -1 };
}

/** Behind the last record of each partition. */
function nextOf(records: readonly Message[]): Place[] {
  const next = new Map(records.map(({ topic, partition, offset, leaderEpoch }) => [placeOf(topic, partition), { topic, partition, offset: offset + 1n, leaderEpoch }]));
  return [...next.values()];
}
