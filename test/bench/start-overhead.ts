import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { Pool, type Dispatcher } from 'undici';
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

/** Part of what the bare client reaches at which both are compared. */
const SHARE = 0.6;

/** Some 2,000 starts of each: until then V8 is still compiling what both run. */
const WARM_UP_SECONDS = 10;

/** Unit of processor times in /proc: 1/100 s on every Linux that HAL9 runs on. */
const TICK_MS = 10;

type Start = () => Promise<void>;

interface Round {
  starts: number;
  seconds: number;
  latencies: number[];
  /** Milliseconds of processor time all starts of the round took, by process. */
  cpu: Record<string, number>;
}

/**
 * What the API adds to a start. Limit: the bare Temporal client in this process, which sends the same server the same request (workflow type,
 * input, codec, timeout, search attributes, memo and priority), and neither authenticates, validates, logs, traces nor records.
 * `throughputRatio` and `addedP50SaturatedMs` are of all clients together, each starting one run after the other; there the side that does
 * 0.9 times as much has a queue 1.1 times as long, whatever a start takes (Little's law). So `addedP50Ms` compares both at the same rate, 0.6
 * of what the bare client reached, spread over as many clients, each start counted from when it was due; `addedP50OneClientMs` is of one at
 * a time, what a lone caller waits longer. Rounds of both alternate and the order turns with each (raw, rest, rest, raw, ...), so that
 * whatever else the machine does meets both. `cpuMs` is the processor time of one start by process: unlike the other numbers it hardly
 * depends on what else runs.
 *
 * Options: `--clients` (32), `--rounds` (40; half as many at the same rate), `--seconds` of each round (2), `--bare` (the raw client sends neither memo
 * nor priority).
 */
export const run: Bench = async (args) => {
  const clients = args.number('clients', 32);
  const rounds = args.number('rounds', 40);
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
    const raw = rawStart(stack, connection, args.options['bare'] !== undefined);
    const rest = restStart(stack, pool);
    const processors = (): Promise<Record<string, number>> => processorTimes(stack);
    for (const start of [raw, rest]) await measure(start, { clients, seconds: WARM_UP_SECONDS }, args.signal, processors);
    const loaded = await compare(clients, rounds);
    const paced = await compare(clients, Math.ceil(rounds / 2), loaded.raw.rate * SHARE);
    const single = await compare(1, 4);
    return {
      throughputRatio: round(loaded.rest.rate / loaded.raw.rate, 3),
      addedP50Ms: round(paced.rest.p50 - paced.raw.p50, 2),
      addedP50SaturatedMs: round(loaded.rest.p50 - loaded.raw.p50, 2),
      addedP50OneClientMs: round(single.rest.p50 - single.raw.p50, 2),
      clients,
      raw: rounded(loaded.raw),
      rest: rounded(loaded.rest),
      rawPaced: rounded(paced.raw),
      restPaced: rounded(paced.rest),
      rawOneClient: rounded(single.raw),
      restOneClient: rounded(single.rest),
    };

    async function compare(count: number, times: number, rate?: number): Promise<{ raw: Measured; rest: Measured }> {
      const all: { raw: Round[]; rest: Round[] } = { raw: [], rest: [] };
      for (let index = 0; index < times; index += 1) {
        const order = index % 2 === 0 ? (['raw', 'rest'] as const) : (['rest', 'raw'] as const);
        for (const side of order) {
          const done = await measure(side === 'raw' ? raw : rest, { clients: count, seconds, rate }, args.signal, processors);
          all[side].push(done);
          args.progress(`${count} clients, ${rate === undefined ? '' : 'paced, '}round ${index + 1}: ${side} ${Math.round(done.starts / done.seconds)}/s`);
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

function rawStart(stack: Stack, connection: Connection, bare: boolean): Start {
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
      ...(bare ? {} : { memo: { hal9: { tags: [], actor: `key:${orgId}`, requestId: randomUUID() } }, priority: { priorityKey: 3, fairnessKey: orgId } }),
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
    });
  };
}

function restStart(stack: Stack, pool: Pool): Start {
  const headers = { authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'content-type': 'application/json' };
  const path = `/v1/workflows/${OPERATION}/runs`;
  return () => send(pool, { method: 'POST', path, headers, body: JSON.stringify({ input: input() }) });
}

/** As little as a client can do, for it shares its processors with what is measured: no stream, no parsing, the whole answer awaited. */
function send(pool: Pool, request: Dispatcher.DispatchOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    let status = 0;
    const refusal: Buffer[] = [];
    pool.dispatch(request, {
      // An empty one tells undici which of its two handler protocols this is.
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => {
        status = statusCode;
      },
      onResponseData: (_controller, chunk) => {
        if (status !== 201) refusal.push(chunk);
      },
      onResponseEnd: () => {
        if (status === 201) resolve();
        else reject(new Error(`start answered ${status}: ${Buffer.concat(refusal).toString()}`));
      },
      onResponseError: (_controller, error) => reject(error),
    });
  });
}

function input() {
  return { order: randomUUID(), lines: Array.from({ length: 5 }, (_, index) => ({ article: `article-${index}`, amount: index })) };
}

interface Load {
  readonly clients: number;
  readonly seconds: number;
  /** Of all clients together, a second; without it each starts one run after the other. */
  readonly rate?: number | undefined;
}

async function measure(start: Start, { clients, seconds, rate }: Load, signal: AbortSignal, processors: () => Promise<Record<string, number>>): Promise<Round> {
  const before = await processors();
  const ownBefore = process.cpuUsage();
  const began = performance.now();
  const until = began + seconds * 1000;
  const latencies: number[] = [];
  const client = async (_: unknown, index: number): Promise<void> => {
    for (let turn = 0; performance.now() < until; turn += 1) {
      signal.throwIfAborted();
      const due = rate === undefined ? performance.now() : began + ((turn * clients + index) * 1000) / rate;
      if (due >= until) return;
      const wait = due - performance.now();
      if (wait > 0) await sleep(wait, undefined, { signal });
      await start();
      latencies.push(performance.now() - due);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  const took = (performance.now() - began) / 1000;
  const own = process.cpuUsage(ownBefore);
  const after = await processors();
  const others = Object.entries(after).map(([name, ms]) => [name, ms - (before[name] ?? 0)] as const);
  return { starts: latencies.length, seconds: took, latencies, cpu: { client: (own.user + own.system) / 1000, ...Object.fromEntries(others) } };
}

/** Processor time of the stack's processes so far, milliseconds, a child's time with its parent's. This process, `client`, holds the supervisor of the stack too. */
async function processorTimes(stack: Stack): Promise<Record<string, number>> {
  const times: Record<string, number> = {};
  const children = await childrenOf();
  for (const { name, pid } of stack.processes()) {
    if (pid === undefined) continue;
    const family = [pid];
    for (const member of family) family.push(...(children.get(member) ?? []));
    const ticks = await Promise.all(family.map((member) => processStat(member)));
    times[name] = ticks.reduce((sum, stat) => sum + (stat?.ticks ?? 0), 0) * TICK_MS;
  }
  return times;
}

async function childrenOf(): Promise<Map<number, number[]>> {
  const children = new Map<number, number[]>();
  for (const entry of await readdir('/proc')) {
    const stat = /^\d+$/.test(entry) ? await processStat(Number(entry)) : undefined;
    if (stat !== undefined) children.set(stat.parent, [...(children.get(stat.parent) ?? []), Number(entry)]);
  }
  return children;
}

/** Parent and processor time of a process (proc(5), `stat`); undefined when it has gone. */
async function processStat(pid: number): Promise<{ parent: number; ticks: number } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined); // processes come and go
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields === undefined ? undefined : { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}

interface Measured {
  /** Starts a second. */
  rate: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Milliseconds of processor time a start, by process. */
  cpuMs: Record<string, number>;
}

function summarise(rounds: readonly Round[]): Measured {
  const latencies = rounds.flatMap((done) => done.latencies).sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN;
  const total = rounds.reduce((sum, done) => ({ starts: sum.starts + done.starts, seconds: sum.seconds + done.seconds }), { starts: 0, seconds: 0 });
  const names = Object.keys(rounds[0]?.cpu ?? {});
  const cpuMs = Object.fromEntries(names.map((name) => [name, rounds.reduce((sum, done) => sum + (done.cpu[name] ?? 0), 0) / total.starts]));
  return { rate: total.starts / total.seconds, p50: at(0.5), p99: at(0.99), cpuMs };
}

function rounded({ rate, p50, p99, cpuMs }: Measured): Measured {
  return { rate: round(rate, 1), p50: round(p50, 2), p99: round(p99, 2), cpuMs: Object.fromEntries(Object.entries(cpuMs).map(([name, ms]) => [name, round(ms, 3)])) };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
