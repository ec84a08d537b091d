import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, ConsumeMessage, ChannelModel, ConfirmChannel } from 'amqplib';
import type { Poison } from '../../platform/brokers/intake.ts';
import type { BrokerMessage } from '../../platform/brokers/message.ts';
import { explainAmqpFailure } from '../../platform/connections/amqp.ts';
import type { AmqpSourceDraft } from '../../schemas/brokers/definition.ts';
import { keepConsuming, takenIn, type SourceConsumerParts } from './source-consumer.ts';

/** Most messages of a commit. */
const BATCH = 500;
/** How long a session waits for more before it takes less than a batch, ms. */
const LINGER_MS = 5;
/** Time the broker has to answer the end of a session, ms. */
const FAREWELL_MS = 2_000;

export interface AmqpConsumerParts extends SourceConsumerParts<AmqpSourceDraft> {
  readonly connect: () => Promise<ChannelModel>;
}

/** Consumes one queue until the signal aborts, whatever the broker does meanwhile. */
export async function consumeQueue(parts: AmqpConsumerParts, signal: AbortSignal): Promise<void> {
  await keepConsuming(parts, explainAmqpFailure, (onConnected) => new Session(parts, signal).run(onConnected), signal);
}

/** From connecting to the end of the connection. */
class Session {
  readonly #parts: AmqpConsumerParts;
  readonly #signal: AbortSignal;
  readonly #waiting: ConsumeMessage[] = [];
  readonly #ended = new AbortController();
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(parts: AmqpConsumerParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  async run(onConnected: () => Promise<void>): Promise<void> {
    const { connect, source } = this.#parts;
    const connection = await connect();
    const stop = (): void => this.#end(undefined);
    this.#signal.addEventListener('abort', stop);
    connection.on('error', (error) => this.#end(error));
    connection.on('close', (error) => this.#end(error ?? new Error('Socket closed')));
    try {
      const channel = await connection.createChannel();
      this.#follow(channel);
      await channel.checkQueue(source.draft.queue);
      await channel.prefetch(source.draft.prefetch);
      const confirming = source.draft.deadLetter === undefined ? undefined : await connection.createConfirmChannel();
      if (confirming !== undefined) this.#follow(confirming);
      const { consumerTag } = await channel.consume(source.draft.queue, (message) => this.#arrived(message), { exclusive: true });
      await onConnected();
      await this.#work(channel, confirming);
      if (this.#failure === undefined) {
        await channel.cancel(consumerTag);
        await channel.close();
      }
    } finally {
      this.#signal.removeEventListener('abort', stop);
      await closed(connection, this.#failure === undefined);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #follow(channel: Channel): void {
    channel.on('error', (error) => this.#end(error));
    channel.on('close', () => this.#end(new Error('Socket closed')));
  }

  #end(failure: unknown): void {
    // The first says why; a stop that was asked for is no failure.
    if (!this.#ended.signal.aborted) this.#failure = this.#signal.aborted ? undefined : failure;
    this.#ended.abort();
    this.#wake?.();
  }

  #arrived(message: ConsumeMessage | null): void {
    // Null: the broker ended the consumer, e.g. because the queue was deleted.
    if (message === null) return this.#end(new Error('NOT_FOUND'));
    this.#waiting.push(message);
    this.#wake?.();
  }

  async #work(channel: Channel, confirming: ConfirmChannel | undefined): Promise<void> {
    const ended = this.#ended.signal;
    while (!ended.aborted) {
      if (this.#waiting.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      if (this.#waiting.length < BATCH) await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
      const batch = this.#waiting.splice(0, BATCH);
      const poison = await takenIn(this.#parts, batch.map(messageOf), ended);
      if (poison === undefined) return;
      if (confirming !== undefined) await this.#bury(confirming, poison);
      const last = batch.at(-1);
      if (last === undefined || this.#failure !== undefined) return;
      channel.ack(last, true);
      this.#parts.onTaken(batch.length, poison.length);
    }
  }

  async #bury(channel: ConfirmChannel, poison: readonly Poison[]): Promise<void> {
    const target = this.#parts.source.draft.deadLetter;
    if (target === undefined || poison.length === 0) return;
    for (const { message, cause } of poison) {
      channel.publish(target.exchange, target.routingKey, message.body, {
        persistent: true,
        headers: { ...message.headers, 'x-hal9-cause': cause },
        ...(message.contentType === undefined ? {} : { contentType: message.contentType }),
        ...(message.messageId === undefined ? {} : { messageId: message.messageId }),
      });
    }
    await channel.waitForConfirms();
  }
}

/** Whatever is not acknowledged goes back. A connection that failed may never answer a farewell: its socket is cut. */
async function closed(connection: ChannelModel, properly: boolean): Promise<void> {
  const stream: unknown = Reflect.get(connection.connection, 'stream');
  const cut = (): void => {
    if (stream instanceof Duplex) stream.destroy();
  };
  try {
    // The library forgets a farewell whose socket ends before the answer, so nobody waits for it longer than this.
    if (properly) await Promise.race([connection.close(), sleep(FAREWELL_MS)]);
  } finally {
    cut();
  }
}

function messageOf({ content, fields, properties }: ConsumeMessage): BrokerMessage {
  const headers: Readonly<Record<string, unknown>> = properties.headers ?? {};
  return {
    body: content,
    contentType: text(properties.contentType),
    messageId: text(properties.messageId),
    route: fields.routingKey,
    headers: Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) => (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [[name, String(value)]] : [])),
    ),
  };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
