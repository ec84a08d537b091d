import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { Pool } from 'undici';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import type { Bench } from './arguments.ts';

const OPERATIONS = join(import.meta.dirname, 'start-overhead/operations');
const OPERATION = 'bench-start';
const ORIGIN = defineSearchAttributeKey(SEARCH_ATTRIBUTES.origin, 'KEYWORD');
const NAME = defineSearchAttributeKey(SEARCH_ATTRIBUTES.operation, 'KEYWORD');
const ORG = defineSearchAttributeKey(SEARCH_ATTRIBUTES.orgId, 'KEYWORD');

type Start = () => Promise<void>;

interface Round {
  starts: number;
  seconds: number;
  latencies: number[];
}

/**
 * What the API adds to a start. Limit: the bare Temporal client in this process, which starts the same workflow type on the
 * same server with the same input, codec, timeout and search attributes, and neither authenticates, validates, logs nor records.
 * `throughputRatio` is of all clients together; `addedP50Ms` is of one client at a time, because in a closed loop at saturation latency
 * only repeats throughput (32 clients at 300/s wait 107 ms whatever they call). Rounds of both alternate, so that whatever else the machine does meets both; the order turns with each round.
 *
 * Options: `--clients` (32), `--rounds` (8), `--seconds` of each round (2).
 */
export const run: Bench = async (args) => {
  const clients = args.number('clients', 32);
  const rounds = args.number('rounds', 8);
  const seconds = args.number('seconds', 2);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_OPERATIONS: OPERATIONS, HAL9_RATE_LIMIT: '0' },
    processes: ['api'],
    progress: args.progress,
    signal: args.signal,
  });
  const connection = await Connection.connect({ address: stack.temporalAddress });
  const pool = new Pool(stack.url, { connections: clients, pipelining: 1 });
  try {
    const raw = rawStart(stack, connection);
    const rest = restStart(stack, pool);
    await measure(raw, clients, 1, args.signal);
    await measure(rest, clients, 2, args.signal);
    const [loaded, single] = [await compare(clients, rounds), await compare(1, 4)];
    return {
      throughputRatio: round(loaded.rest.rate / loaded.raw.rate, 3),
      addedP50Ms: round(single.rest.p50 - single.raw.p50, 2),
      addedP50SaturatedMs: round(loaded.rest.p50 - loaded.raw.p50, 2),
      clients,
      raw: rounded(loaded.raw),
      rest: rounded(loaded.rest),
      rawOneClient: rounded(single.raw),
      restOneClient: rounded(single.rest),
    };

    async function compare(count: number, times: number): Promise<{ raw: Measured; rest: Measured }> {
      const all: { raw: Round[]; rest: Round[] } = { raw: [], rest: [] };
      for (let index = 0; index < times; index += 1) {
        const order = index % 2 === 0 ? (['raw', 'rest'] as const) : (['rest', 'raw'] as const);
        for (const side of order) {
          const done = await measure(side === 'raw' ? raw : rest, count, seconds, args.signal);
          all[side].push(done);
          args.progress(`${count} clients, round ${index + 1}: ${side} ${Math.round(done.starts / done.seconds)}/s`);
        }
      }
      return { raw: summarise(all.raw), rest: summarise(all.rest) };
    }
  } finally {
    await pool.close();
    await connection.close();
    await stack.stop();
  }
};

function rawStart(stack: Stack, connection: Connection): Start {
  const orgId = stack.first?.orgId ?? '';
  const dataConverter = createDataConverter(KeyRing.parse(String(stack.environment['HAL9_MASTER_KEYS'])));
  const client = new Client({ connection, namespace: stack.temporalNamespace, dataConverter });
  return async () => {
    await client.workflow.start('benchStart', {
      workflowId: `${orgId}/${OPERATION}/${randomUUID()}`,
      taskQueue: OPERATION,
      args: [input()],
      workflowExecutionTimeout: '1 hour',
      typedSearchAttributes: [
        { key: ORG, value: orgId },
        { key: NAME, value: OPERATION },
        { key: ORIGIN, value: 'api' },
      ],
    });
  };
}

function restStart(stack: Stack, pool: Pool): Start {
  const headers = { authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'content-type': 'application/json' };
  return async () => {
    const answer = await pool.request({ method: 'POST', path: `/v1/workflows/${OPERATION}/runs`, headers, body: JSON.stringify({ input: input() }) });
    const body = await answer.body.text();
    if (answer.statusCode !== 201) throw new Error(`start answered ${answer.statusCode}: ${body}`);
  };
}

function input() {
  return { order: randomUUID(), lines: Array.from({ length: 5 }, (_, index) => ({ article: `article-${index}`, amount: index })) };
}

/** Each client starts one run after the other until the time is up. */
async function measure(start: Start, clients: number, seconds: number, signal: AbortSignal): Promise<Round> {
  const began = performance.now();
  const until = began + seconds * 1000;
  const latencies: number[] = [];
  const client = async (): Promise<void> => {
    while (performance.now() < until) {
      signal.throwIfAborted();
      const at = performance.now();
      await start();
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { starts: latencies.length, seconds: (performance.now() - began) / 1000, latencies };
}

interface Measured {
  /** Starts a second. */
  rate: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
}

function summarise(rounds: readonly Round[]): Measured {
  const latencies = rounds.flatMap((done) => done.latencies).sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN;
  const total = rounds.reduce((sum, done) => ({ starts: sum.starts + done.starts, seconds: sum.seconds + done.seconds }), { starts: 0, seconds: 0 });
  return { rate: total.starts / total.seconds, p50: at(0.5), p99: at(0.99) };
}

function rounded({ rate, p50, p99 }: Measured): Measured {
  return { rate: round(rate, 1), p50: round(p50, 2), p99: round(p99, 2) };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
