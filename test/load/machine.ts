import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { cpuSeconds } from '../bench/cascade/cpu-time.ts';
import type { Stack } from '../../deploy/local/stack.ts';

/** What makes one machine's numbers comparable with another's. */
export interface MachineFacts {
  readonly processors: number;
  readonly model: string;
  readonly memoryGiB: number;
}

export function machineFacts(): MachineFacts {
  return { processors: availableParallelism(), model: cpus()[0]?.model ?? 'unknown', memoryGiB: Math.round(totalmem() / 2 ** 30) };
}

/** What was seen while a step ran. */
export interface Observation {
  readonly seconds: number;
  /** Processors each process used on average; 1 is one whole processor. */
  readonly processors: Readonly<Record<string, number>>;
  /** Share of all processors that were busy, 0 to 1, whoever used them. */
  readonly busy: number;
  /** Share of all processors that something else than HAL9 and the generator used. */
  readonly foreign: number;
  /** Largest p99 of the API's event loop delay in a second, milliseconds. */
  readonly eventLoopLagMs: number;
  /** Requests that waited for a connection of the API's pool to PostgreSQL: the mean of the samples. */
  readonly poolWaiting: number;
  /** Median of what `/readyz` measured, milliseconds. */
  readonly postgresMs: number;
  readonly temporalMs: number;
}

const SAMPLE_MS = 1000;
const readiness = z.object({ dependencies: z.array(z.object({ name: z.string(), latencyMs: z.number() })) });

interface Sample {
  readonly lagMs: number;
  readonly waiting: number;
  readonly postgresMs: number;
  readonly temporalMs: number;
}

/** Watches the processes and the machine from its making to `end`. */
export class Watch {
  readonly #stack: Stack;
  readonly #generator: number | undefined;
  readonly #began = performance.now();
  readonly #samples: Sample[] = [];
  readonly #end = new AbortController();
  readonly #before: Promise<{ cpu: Map<string, number>; machine: MachineTicks }>;
  readonly #sampling: Promise<void>;

  constructor(stack: Stack, generator: number | undefined) {
    this.#stack = stack;
    this.#generator = generator;
    this.#before = this.#counters();
    this.#sampling = this.#sample();
  }

  async end(): Promise<Observation> {
    const [before, after] = [await this.#before, await this.#counters()];
    const seconds = (performance.now() - this.#began) / 1000;
    this.#end.abort();
    await this.#sampling;
    const used = Object.fromEntries([...after.cpu].map(([name, total]) => [name, (total - (before.cpu.get(name) ?? 0)) / seconds]));
    const whole = after.machine.total - before.machine.total;
    const busy = whole === 0 ? 0 : (after.machine.busy - before.machine.busy) / whole;
    const own = Object.values(used).reduce((sum, value) => sum + value, 0) / availableParallelism();
    const of = (field: keyof Sample): number[] => this.#samples.map((sample) => sample[field]).filter(Number.isFinite);
    return {
      seconds,
      processors: used,
      busy,
      foreign: Math.max(0, busy - own),
      eventLoopLagMs: Math.max(0, ...of('lagMs')),
      poolWaiting: of('waiting').reduce((sum, value) => sum + value, 0) / Math.max(1, of('waiting').length),
      postgresMs: median(of('postgresMs')),
      temporalMs: median(of('temporalMs')),
    };
  }

  async #counters(): Promise<{ cpu: Map<string, number>; machine: MachineTicks }> {
    const processes = [...this.#stack.processes(), { name: 'generator', pid: this.#generator }];
    return { cpu: await cpuSeconds(processes), machine: await machineTicks() };
  }

  async #sample(): Promise<void> {
    while (!this.#end.signal.aborted) {
      await sleep(SAMPLE_MS, undefined, { signal: this.#end.signal }).catch(() => undefined);
      if (this.#end.signal.aborted) return;
      const limit = (): AbortSignal => AbortSignal.any([this.#end.signal, AbortSignal.timeout(10_000)]);
      // An API too busy to say how it is says it by that: the sample has what was answered.
      const [metrics, ready] = await Promise.all([
        fetch(`${this.#stack.url}/metrics`, { signal: limit() }).then((answer) => answer.text(), () => ''),
        fetch(`${this.#stack.url}/readyz`, { signal: limit() }).then((answer) => answer.json(), () => ({ dependencies: [] })),
      ]);
      const dependencies = readiness.safeParse(ready).data?.dependencies ?? [];
      const latency = (name: string): number => dependencies.find((one) => one.name === name)?.latencyMs ?? Number.NaN;
      this.#samples.push({ lagMs: metric(metrics, 'hal9_nodejs_eventloop_lag_p99_seconds') * 1000, waiting: metric(metrics, 'hal9_database_pool_waiting'), postgresMs: latency('postgres'), temporalMs: latency('temporal') });
    }
  }
}

interface MachineTicks {
  readonly total: number;
  readonly busy: number;
}

/** First line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal. Elsewhere than on Linux zeros. */
async function machineTicks(): Promise<MachineTicks> {
  const text = await readFile('/proc/stat', 'utf8').catch(() => '');
  const fields = (text.split('\n')[0] ?? '').trim().split(/\s+/).slice(1, 9).map(Number);
  const total = fields.reduce((sum, value) => sum + value, 0);
  return { total, busy: total - (fields[3] ?? 0) - (fields[4] ?? 0) };
}

/** Sum of a metric over its labels; NaN when it is not there. */
function metric(text: string, name: string): number {
  const values = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`)).map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
