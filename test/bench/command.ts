import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import Table from 'cli-table3';
import { runCommand } from '../../deploy/local/command.ts';
import { SetupError } from '../../deploy/local/setup-error.ts';
import type { Bench, BenchArguments } from './arguments.ts';
import { processorTime, stolenPercent } from './stolen-time.ts';

/** Files beside the benches that are none. */
const NOT_A_BENCH = new Set(['main', 'command', 'arguments', 'stolen-time']);

/**
 * Runs one bench of a folder by name and prints what it found: a table, or with `--json` exactly one line of JSON, the
 * last on stdout. Every `*.ts` in the folder that exports `run` is a bench; parts of benches live in subfolders.
 */
export async function runBenchCommand(kind: string, folder: string): Promise<never> {
  return runCommand(async (signal) => {
    const [name, ...rest] = process.argv.slice(2);
    const names = await benches(folder);
    if (name === undefined || !names.includes(name)) {
      throw new SetupError(name === undefined ? `say which ${kind}` : `there is no ${kind} ${name}`, `there are: ${names.join(', ')}`);
    }
    await measureAndPrint(kind, await load(join(folder, `${name}.ts`)), rest, signal);
  });
}

/** Runs one bench with the options of a command line. `stolenPercent` says what a shared machine took from it meanwhile. */
export async function measureAndPrint(kind: string, run: Bench, line: readonly string[], signal: AbortSignal): Promise<void> {
  const { json, ...own } = readOptions(line);
  const temporary = await mkdtemp(join(tmpdir(), `hal9-${kind}-`));
  await chmod(temporary, 0o755);
  try {
    const before = await processorTime();
    const found = await run(argumentsOf(own, temporary, signal));
    const after = await processorTime();
    const result = before === undefined || after === undefined ? found : { ...found, stolenPercent: stolenPercent(before, after) };
    process.stdout.write(json === undefined ? `${table(result)}\n` : `${JSON.stringify(result)}\n`);
  } finally {
    await rm(temporary, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function benches(folder: string): Promise<string[]> {
  const files = await readdir(folder);
  return files.filter((file) => file.endsWith('.ts') && !file.includes('.test.')).map((file) => basename(file, '.ts')).filter((name) => !NOT_A_BENCH.has(name)).sort();
}

async function load(file: string): Promise<Bench> {
  const module: unknown = await import(file);
  if (typeof module !== 'object' || module === null || !('run' in module) || !isBench(module.run)) throw new Error(`${file} exports no function run`);
  return module.run;
}

function isBench(value: unknown): value is Bench {
  return typeof value === 'function';
}

/** `--a 1 --b=2 --c` becomes `{a: '1', b: '2', c: 'true'}`. */
export function readOptions(args: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  for (let index = 0; index < args.length; index += 1) {
    const [, name, inline] = /^--([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(args[index] ?? '') ?? [];
    if (name === undefined) throw new SetupError(`${args[index] ?? ''} is no option`, 'write options as --name value');
    const next = args[index + 1];
    if (inline !== undefined) options[name] = inline;
    else if (next === undefined || next.startsWith('--')) options[name] = 'true';
    else {
      options[name] = next;
      index += 1;
    }
  }
  return options;
}

function argumentsOf(options: Record<string, string>, folder: string, signal: AbortSignal): BenchArguments {
  return {
    options,
    folder,
    signal,
    number(name, preset) {
      const text = options[name];
      if (text === undefined) return preset;
      const value = Number(text);
      if (!Number.isFinite(value)) throw new SetupError(`--${name} ${text} is no number`, `write it as --${name} ${preset}`);
      return value;
    },
    progress: (message) => process.stderr.write(`${message}\n`),
  };
}

function table(result: Readonly<Record<string, unknown>>): string {
  const shown = new Table({ style: { head: [], border: [] } });
  for (const [name, value] of Object.entries(result)) {
    shown.push({ [name]: typeof value === 'number' ? value.toLocaleString('en-US', { maximumFractionDigits: 3 }) : typeof value === 'string' ? value : JSON.stringify(value) });
  }
  return shown.toString();
}
