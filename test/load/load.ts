import { fork, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench, BenchArguments } from '../bench/arguments.ts';
import { bottleneckOf } from './bottleneck.ts';
import type { BurstResult, Order, StepResult } from './generator.ts';
import { machineFacts, Watch, type Observation } from './machine.ts';
import { MIX } from './users.ts';
import { baselinesSchema, isComparable, isQuiet, isWithinTarget, judge, TARGET, type Baseline, type Figures } from './verdict.ts';

const BASELINE = join(import.meta.dirname, 'baseline.json');
/** Each step offers so much more than the one before. */
const GROWTH = 1.4;
/** Steps between the last rate that held and the first that did not. */
const NARROWING = 2;
/** It keeps up while so much of what is offered is answered in time, with fewer errors than this share, and reads within this p95, milliseconds. */
const KEPT_UP = 0.95;
const ERRORS = 0.01;
const HELD_P95_MS = 500;
/** Files that a process keeps open beside the connections of a burst. */
const SPARE_FILES = 500;
/** Runs a baseline remembers. */
const REMEMBERED = 7;

interface Step {
  readonly rate: number;
  readonly result: StepResult;
  readonly seen: Observation;
  readonly held: boolean;
}

/**
 * Finds the knee: the highest rate of requests, offered by `--users` people with a connection each, that is answered as fast as it comes, and what
 * stands in the way beyond it. Then it measures at half the knee, and opens `--connections` connections at once.
 *
 * Options: `--users` (1000), `--seconds` of each step (20), `--from` the first rate (40 a second), `--most` the last (5000), `--connections` (10000; 0 for none),
 * `--save` (adds the run to the baseline of this kind of machine, unless other work disturbed it).
 */
export const run: Bench = async (args) => {
  const users = args.number('users', 1000);
  const seconds = args.number('seconds', 20);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_OPERATIONS: join(import.meta.dirname, 'operations'), HAL9_RATE_LIMIT: '0' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  const generator = new Generator();
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    await generator.obey({ kind: 'users', target: { url: stack.url, apiKey }, count: users });
    const step = (rate: number, name: string): Promise<Step> => measure(stack, generator, rate, seconds, name, args);
    await step(args.number('from', 40), 'warm-up');
    const { knee, beyond } = await findKnee(step, args.number('from', 40), args.number('most', 5000));
    const half = await step(Math.max(1, knee.rate / 2), 'half the knee');
    const burst = await burstOf(stack, generator, args);
    const figures: Figures = { kneePerSecond: knee.result.perSecond, readP50Ms: at(half.result.reads, 0.5), readP95Ms: at(half.result.reads, 0.95), apiCpuMsPerRequest: ((half.seen.processors['api'] ?? 0) * half.seen.seconds * 1000) / half.result.answered };
    const machine = machineFacts();
    const foreign = Math.max(knee.seen.foreign, half.seen.foreign);
    const judged = judge(figures, baselines(), { machine, users, foreign });
    const saved = args.options['save'] !== undefined && isQuiet(foreign);
    if (saved) save(figures, { machine, users });
    else if (args.options['save'] !== undefined) args.progress(`not saved: other work took ${Math.round(foreign * 100)} % of the processors`);
    if (judged.verdict === 'regressed') process.exitCode = 3;
    return {
      users,
      requestsPerSecond: rounded(knee.result.perSecond),
      p50Ms: rounded(at(knee.result.all, 0.5)),
      p95Ms: rounded(at(knee.result.all, 0.95)),
      p99Ms: rounded(at(knee.result.all, 0.99)),
      errors: knee.result.errors,
      bottleneck: bottleneckOf((beyond ?? knee).seen),
      atHalfTheKnee: { requestsPerSecond: rounded(half.result.perSecond), readP50Ms: rounded(figures.readP50Ms), readP95Ms: rounded(figures.readP95Ms), readP99Ms: rounded(at(half.result.reads, 0.99)), errors: half.result.errors, withinTarget: isWithinTarget(figures) },
      target: TARGET,
      beyondTheKnee: beyond === undefined ? null : { offeredPerSecond: rounded(beyond.rate), answeredPerSecond: rounded(beyond.result.perSecond), p95Ms: rounded(at(beyond.result.all, 0.95)), errors: beyond.result.errors, failures: beyond.result.failures },
      burst,
      generatorProcessors: rounded(knee.seen.processors['generator'] ?? 0),
      processors: Object.fromEntries(Object.entries(knee.seen.processors).map(([name, used]) => [name, rounded(used)])),
      otherWork: rounded(foreign),
      mix: MIX,
      machine,
      ...judged,
      saved,
    };
  } finally {
    generator.end();
    await stack.stop();
  }
};

type Measure = (rate: number, name: string) => Promise<Step>;

/** Raises the rate until it is too much, then looks between. `beyond` is the lowest rate that was too much, undefined when none was. */
async function findKnee(step: Measure, from: number, most: number): Promise<{ knee: Step; beyond: Step | undefined }> {
  let knee = await step(from, 'step');
  // Where even the first is too much, the knee lies below it.
  for (let tries = 0; !knee.held && tries < 4; tries += 1) knee = await step(knee.rate / 2, 'step');
  let beyond: Step | undefined;
  while (beyond === undefined && knee.held && knee.rate < most) {
    const next = await step(Math.min(most, knee.rate * GROWTH), 'step');
    if (next.held) knee = next;
    else beyond = next;
  }
  for (let narrowed = 0; beyond !== undefined && narrowed < NARROWING; narrowed += 1) {
    const next = await step((knee.rate + beyond.rate) / 2, 'between');
    if (next.held) knee = next;
    else beyond = next;
  }
  return { knee, beyond };
}

async function measure(stack: Stack, generator: Generator, rate: number, seconds: number, name: string, args: BenchArguments): Promise<Step> {
  args.signal.throwIfAborted();
  const watch = new Watch(stack, generator.pid);
  const result = (await generator.obey({ kind: 'step', rate, seconds, patienceSeconds: 5 })) as StepResult;
  const seen = await watch.end();
  const held = result.perSecond >= rate * KEPT_UP * (seconds / (seconds + 1)) && result.errors <= result.requests * ERRORS && at(result.reads, 0.95) <= HELD_P95_MS;
  args.progress(
    `${name}: ${rate.toFixed(0)} a second offered, ${result.perSecond.toFixed(0)} answered, ${result.errors} errors; p50 ${at(result.all, 0.5).toFixed(1)} ms, p95 ${at(result.all, 0.95).toFixed(1)} ms; reads p50 ${at(result.reads, 0.5).toFixed(1)} ms, p95 ${at(result.reads, 0.95).toFixed(1)} ms; api ${(seen.processors['api'] ?? 0).toFixed(2)}, generator ${(seen.processors['generator'] ?? 0).toFixed(2)} processors, others ${Math.round(seen.foreign * 100)} %${held ? '' : '; too much'}${result.failures.length === 0 ? '' : `; ${result.failures.join('; ')}`}`,
  );
  return { rate, result, seen, held };
}

async function burstOf(stack: Stack, generator: Generator, args: BenchArguments): Promise<Record<string, unknown> | null> {
  const wanted = args.number('connections', 10_000);
  if (wanted === 0) return null;
  const api = stack.processes().find(({ name }) => name === 'api');
  const files = Math.min(openFilesOf(generator.pid), openFilesOf(api?.pid));
  const connections = Math.min(wanted, files - SPARE_FILES);
  if (connections < wanted) args.progress(`only ${connections} connections: a process may open ${files} files here; see ulimit -n`);
  const result = (await generator.obey({ kind: 'burst', port: Number(new URL(stack.url).port), connections, seconds: 60 })) as BurstResult;
  args.progress(`${connections} connections at once: ${result.answered} answered within ${result.seconds.toFixed(1)} s, ${result.errors} errors`);
  return { connections, answered: result.answered, errors: result.errors, seconds: rounded(result.seconds), p50Ms: rounded(at(result.times, 0.5)), p99Ms: rounded(at(result.times, 0.99)), failures: result.failures };
}

/** Files the process may open (proc(5), limits); Infinity where that is not known. */
function openFilesOf(pid: number | undefined): number {
  const file = `/proc/${pid ?? 0}/limits`;
  if (!existsSync(file)) return Infinity;
  // Node raises its soft limit to the hard one when it starts.
  const limit = /^Max open files\s+(\S+)/m.exec(readFileSync(file, 'utf8'))?.[1];
  return limit === undefined || limit === 'unlimited' ? Infinity : Number(limit);
}

/** The process that makes the load. */
class Generator {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'generator.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** @throws {Error} when it failed or ended. */
  async obey(order: Order): Promise<StepResult | BurstResult | null> {
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error('the load generator ended'));
      this.#child.once('exit', ended);
      this.#child.once('message', (answer: { result: StepResult | BurstResult | null } | { error: string }) => {
        this.#child.off('exit', ended);
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.result);
      });
      this.#child.send(order);
    });
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

function baselines(): Baseline[] {
  return existsSync(BASELINE) ? baselinesSchema.parse(JSON.parse(readFileSync(BASELINE, 'utf8'))) : [];
}

function save(figures: Figures, of: Omit<Baseline, 'runs'>): void {
  const all = baselines();
  const before = all.find((other) => isComparable(other, of));
  const runs = [...(before?.runs ?? []), figures].slice(-REMEMBERED);
  writeFileSync(BASELINE, `${JSON.stringify([...all.filter((other) => other !== before), { ...of, runs }], null, 2)}\n`);
}

/** @param sorted ascending. @returns NaN for none. */
function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
