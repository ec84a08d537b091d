import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { z } from 'zod';
import { SetupError } from '../../deploy/local/setup-error.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench, BenchArguments } from '../bench/arguments.ts';
import { findKafka, KAFKA_MISSING, startKafka } from '../environment/kafka.ts';
import { findRabbit, RABBITMQ_MISSING, startRabbit } from '../environment/rabbitmq.ts';
import { killAtRandom } from './signals/killer.ts';
import { kafkaUnderTest, rabbitUnderTest, type BrokerUnderTest, type Numbered } from './triggers/brokers.ts';

/** A small run for every change. */
const SMOKE = { messages: 400, kills: 4, pauseMs: [200, 600], downMs: 4_000 } as const;
const FULL = { messages: 20_000, kills: 14, pauseMs: [1000, 4000], downMs: 60_000 } as const;
const KEYS = 50;
const BATCH = 50;
/** Of the messages those that are sent while Temporal is away. */
const WHILE_DOWN = 0.1;
/** Time for the consumers to notice that Temporal is away, ms: a batch in hand may be committed still. */
const NOTICE_MS = 3_000;
/** Without any further effect for so long it is given up, ms. */
const SETTLE_MS = 180_000;
const ASK_MS = 100;

/**
 * Messages of RabbitMQ and of Kafka become signals, and an automation sends one signal for each, while brokers, API, consumers, workers and
 * dispatcher are killed at random; then Temporal does not answer for a minute. Each message must have led to one signal, in the order of its key.
 * Options: `--smoke`, `--messages N`, `--kills N`, `--down-ms N`.
 */
export const run: Bench = async (args) => {
  const preset = args.options['smoke'] === undefined ? FULL : SMOKE;
  const messages = args.number('messages', preset.messages);
  const kills = args.number('kills', preset.kills);
  const downMs = args.number('down-ms', preset.downMs);
  const began = performance.now();
  const [kafkaTool, rabbitTool] = await Promise.all([findKafka(), findRabbit()]);
  if (kafkaTool === undefined) throw new SetupError('there is no Kafka', KAFKA_MISSING);
  if (rabbitTool === undefined) throw new SetupError('there is no RabbitMQ', RABBITMQ_MISSING);
  const folder = async (name: string): Promise<string> => {
    const path = join(args.folder, name);
    await mkdir(path);
    await chmod(path, 0o755);
    return path;
  };
  const [kafka, rabbit] = await Promise.all([startKafka(kafkaTool, await folder('kafka')), startRabbit(rabbitTool, await folder('rabbit'))]);
  try {
    const stack = await startStack({
      settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
      processes: ['api', 'core', 'dispatcher', 'consumers'],
      progress: args.progress,
      signal: args.signal,
    });
    try {
      return await prove(stack, { rabbit: await rabbitUnderTest(rabbit, args.signal), kafka: await kafkaUnderTest(kafka, args.signal) }, { args, messages, kills, downMs, pauseMs: preset.pauseMs, began });
    } finally {
      await stack.stop();
    }
  } finally {
    await Promise.all([kafka.stop(), rabbit.stop()]);
  }
};

interface Course {
  readonly args: BenchArguments;
  readonly messages: number;
  readonly kills: number;
  readonly downMs: number;
  readonly pauseMs: readonly [number, number];
  readonly began: number;
}

async function prove(stack: Stack, brokers: { readonly rabbit: BrokerUnderTest; readonly kafka: Awaited<ReturnType<typeof kafkaUnderTest>> }, course: Course): Promise<Record<string, unknown>> {
  const { args, messages, kills, downMs, pauseMs, began } = course;
  const both = [brokers.rabbit, brokers.kafka];
  for (const broker of both) await connectSource(stack, broker);
  const traffic = new Traffic(both);
  const asked = new Availability(stack, args.signal);
  const calm = Math.round(messages * (1 - WHILE_DOWN));

  const targets = new Targets(stack, both);
  let allowed = calm / (kills + 1);
  const killing = killAtRandom({ stack: targets, names: targets.names, kills, pauseMs, progress: args.progress, signal: args.signal, onKill: () => {
    allowed += calm / (kills + 1);
  } });
  killing.catch(() => {
    allowed = Infinity;
  });
  while (traffic.sent < calm) {
    if (traffic.sent > allowed) await sleep(20, undefined, { signal: args.signal });
    else await traffic.send(Math.min(BATCH, calm - traffic.sent));
  }
  const killed = await killing;
  await targets.allReady();
  const availability = asked.end();
  args.progress(`availability of the API during the kills: ${(availability * 100).toFixed(1)} %`);
  await settled(stack, calm, args);

  const down = await withoutTemporal(stack, { traffic, kafka: brokers.kafka, messages: messages - calm, downMs, args });
  const caughtUpFrom = performance.now();
  await settled(stack, messages, args);
  const caughtUpMs = Math.round(performance.now() - caughtUpFrom);
  const outcome = await query<{ arrived: number; taken: number; rows: number; out_of_order: number }>(stack.databaseUrl, OUTCOME);
  await Promise.all(both.map((broker) => broker.close()));
  return {
    messages,
    lost: messages - outcome.arrived,
    duplicated: outcome.rows - outcome.arrived,
    outOfOrder: outcome.out_of_order,
    kills,
    killed,
    availability,
    ...down,
    caughtUpMs,
    seconds: Math.round((performance.now() - began) / 1000),
  };
}

/** Temporal is stopped, not ended: nobody answers, as when its machine hangs. */
async function withoutTemporal(stack: Stack, { traffic, kafka, messages, downMs, args }: { traffic: Traffic; kafka: { committed: () => Promise<number> }; messages: number; downMs: number; args: BenchArguments }): Promise<Record<string, number>> {
  args.progress(`Temporal does not answer for ${String(downMs / 1000)} s`);
  // Records that the sender had to repeat are there twice, and a signal once; everything is at rest now.
  const repeated = (await kafka.committed()) - (await query<{ rows: number }>(stack.databaseUrl, FROM_KAFKA)).rows;
  stack.kill('temporal', 'SIGSTOP');
  const until = performance.now() + downMs;
  let ackedNotCommitted = 0;
  let takenInMeanwhile = 0;
  try {
    await sleep(NOTICE_MS, undefined, { signal: args.signal });
    const before = await taken(stack);
    await traffic.send(messages);
    while (performance.now() < until) {
      // First what is acknowledged, then what is there: what was committed in between cannot look like a loss.
      const acked = await kafka.committed();
      ackedNotCommitted = Math.max(ackedNotCommitted, acked - repeated - (await query<{ rows: number }>(stack.databaseUrl, FROM_KAFKA)).rows);
      takenInMeanwhile = (await taken(stack)) - before;
      await sleep(500, undefined, { signal: args.signal });
    }
  } finally {
    stack.kill('temporal', 'SIGCONT');
  }
  return { temporalDownMs: downMs, sentWhileDown: messages, takenInWhileDown: takenInMeanwhile, ackedNotCommitted: Math.max(0, ackedNotCommitted) };
}

/** Numbers messages, one key to one broker, and sends them. */
class Traffic {
  readonly #brokers: readonly BrokerUnderTest[];
  sent = 0;

  constructor(brokers: readonly BrokerUnderTest[]) {
    this.#brokers = brokers;
  }

  async send(count: number): Promise<void> {
    const batch: Numbered[] = Array.from({ length: count }, (_, index) => {
      const n = this.sent + index;
      return { id: `m-${String(n)}`, key: `k-${String(n % KEYS)}`, n };
    });
    await Promise.all(this.#brokers.map(async (broker, place) => {
      const own = batch.filter(({ n }) => n % KEYS % this.#brokers.length === place);
      if (own.length > 0) await broker.publish(own);
    }));
    this.sent += count;
  }
}

/** HAL9's processes and the brokers, to be killed alike. */
class Targets {
  readonly #stack: Stack;
  readonly #brokers: Map<string, BrokerUnderTest>;
  readonly #returning = new Map<string, Promise<void>>();
  readonly names: readonly string[];

  constructor(stack: Stack, brokers: readonly BrokerUnderTest[]) {
    this.#stack = stack;
    this.#brokers = new Map(brokers.map((broker) => [broker.name, broker]));
    this.names = [...this.#brokers.keys(), ...stack.processes().map(({ name }) => name).filter((name) => name !== 'postgres' && name !== 'temporal')];
  }

  kill(name: string, signal: NodeJS.Signals): number {
    const broker = this.#brokers.get(name);
    if (broker === undefined) return this.#stack.kill(name, signal);
    const back = broker.kill().then(() => broker.start());
    // Heard of by whoever waits for it.
    back.catch(() => undefined);
    this.#returning.set(name, back);
    return 0;
  }

  async whenReady(name?: string): Promise<void> {
    if (name === undefined || !this.#brokers.has(name)) return this.#stack.whenReady(name);
    await this.#returning.get(name);
  }

  async allReady(): Promise<void> {
    await Promise.all(this.names.map((name) => this.whenReady(name)));
  }
}

/** Asks the API for something small all the time. */
class Availability {
  #over = false;
  #attempts = 0;
  #answered = 0;

  constructor(stack: Stack, signal: AbortSignal) {
    void this.#ask(stack, signal);
  }

  /** @returns the share of the attempts that were answered. */
  end(): number {
    this.#over = true;
    return this.#attempts === 0 ? 1 : this.#answered / this.#attempts;
  }

  async #ask(stack: Stack, signal: AbortSignal): Promise<void> {
    while (!this.#over && !signal.aborted) {
      this.#attempts += 1;
      const ok = await fetch(`${stack.url}/v1/sources`, { headers: { authorization: `Bearer ${stack.first?.apiKey ?? ''}` }, signal: AbortSignal.timeout(5000) }).then((response) => response.ok, () => false);
      if (ok) this.#answered += 1;
      await sleep(ASK_MS);
    }
  }
}

const createdSchema = z.object({ id: z.uuid() });

async function connectSource(stack: Stack, { name, connection, source }: BrokerUnderTest): Promise<void> {
  await call(stack, '/v1/connections?test=false', { name, settings: connection });
  const { id } = createdSchema.parse(await call(stack, '/v1/sources', { ...source, name, connection: name }));
  await call(stack, '/v1/automations', { name: `on-${name}`, trigger: { kind: 'source', sourceId: id }, effect: { kind: 'signal', type: `chaos.effect`, data: { n: 'signal.data.n', key: 'signal.data.key' } } });
}

async function call(stack: Stack, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${stack.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${stack.first?.apiKey ?? ''}` }, body: JSON.stringify(body), signal: AbortSignal.timeout(15_000) });
  if (!response.ok) throw new Error(`${path}: ${String(response.status)} ${await response.text()}`);
  return response.json();
}

/** An effect knows the number of its message; within a key they must come one after the other. */
const OUTCOME = `
  with effects as (select chunk_id, ordinal, (envelope::jsonb -> 'data' ->> 'n')::float::int as n, envelope::jsonb -> 'data' ->> 'key' as key from signals where type = 'chaos.effect'),
    ordered as (select n, lag(n) over (partition by key order by chunk_id, ordinal) as before from effects)
  select (select count(distinct n)::int from effects) as arrived, (select count(*)::int from signals where type = 'chaos.message') as taken,
    (select count(*)::int from effects) as rows, (select count(*)::int from ordered where before > n) as out_of_order`;
const ARRIVED = `select count(distinct envelope::jsonb -> 'data' ->> 'n')::int as rows from signals where type = 'chaos.effect'`;
const TAKEN = `select count(*)::int as rows from signals where type = 'chaos.message'`;
const FROM_KAFKA = `select count(*)::int as rows from signals s where type = 'chaos.message' and exists (select from broker_sources b where b.name = 'kafka' and s.source = '/sources/' || b.id)`;

async function taken(stack: Stack): Promise<number> {
  return (await query<{ rows: number }>(stack.databaseUrl, TAKEN)).rows;
}

/** Until every message has had its effect, and for a moment longer: a second one would come then. */
async function settled(stack: Stack, messages: number, args: BenchArguments): Promise<void> {
  let [best, deadline] = [0, Date.now() + SETTLE_MS];
  for (let round = 0; ; round += 1) {
    const { rows } = await query<{ rows: number }>(stack.databaseUrl, ARRIVED);
    if (rows >= messages) break;
    if (rows > best) [best, deadline] = [rows, Date.now() + SETTLE_MS];
    if (Date.now() > deadline) {
      args.progress(`gave up waiting: ${JSON.stringify(await query(stack.databaseUrl, OUTCOME))}`);
      return;
    }
    if (round % 10 === 0) args.progress(`${String(rows)} of ${String(messages)} messages have had their effect, ${String(await taken(stack))} are in`);
    await sleep(500, undefined, { signal: args.signal });
  }
  await sleep(1000, undefined, { signal: args.signal });
}

async function query<Row extends object>(url: string, text: string): Promise<Row> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rows } = await client.query<Row>(text);
    const [row] = rows;
    if (row === undefined) throw new Error('no answer');
    return row;
  } finally {
    await client.end();
  }
}
