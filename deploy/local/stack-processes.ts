import { extname, join } from 'node:path';
import { hasEnded, spawnOwned } from './child-process.ts';
import type { ProcessSpecification } from './supervised-process.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The HAL9 processes a stack can run; `core` may run several times. */
export type ProcessKind = 'api' | 'core' | 'dispatcher' | 'consumers' | 'browser' | 'recovery' | 'host';

const MAIN: Readonly<Record<ProcessKind, string>> = {
  api: 'api/main.ts',
  core: 'workers/core/main.ts',
  dispatcher: 'workers/dispatcher/main.ts',
  consumers: 'workers/consumers/main.ts',
  browser: 'workers/browser/main.ts',
  recovery: 'workers/recovery/main.ts',
  host: 'workers/host/main.ts',
};

/** What every stack runs; a `recovery` worker only where there are backups. */
export const ALL_PROCESSES: readonly ProcessKind[] = ['api', 'core', 'dispatcher', 'consumers', 'browser', 'host'];

const READY_MS = 120_000;

/** A process of HAL9, run as production runs it: configured by its environment alone. */
export function halProcess(kind: ProcessKind, name: string, env: NodeJS.ProcessEnv): ProcessSpecification {
  return {
    name,
    // The last two say in `ps`, and to a host agent, which process of whose stack this is.
    launch: () => spawnOwned(process.execPath, [...nodeFlags(), join(ROOT, MAIN[kind].replace(/\.ts$/, extname(import.meta.filename))), `--process=${name}`, `--data=${env['HAL9_DATA'] ?? ''}`], { deathSignal: 'KILL', cwd: ROOT, env }),
    ready: (child, onLine) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${name} is not ready after ${READY_MS / 1000} s`)), READY_MS);
        const finish = (settle: () => void): void => {
          clearTimeout(timer);
          settle();
        };
        onLine((line) => {
          if (saysReady(line)) finish(resolve);
        });
        const end = (): void => finish(() => reject(new Error(`${name} ended while starting`)));
        if (hasEnded(child)) end();
        // `close` follows the last line, which says why.
        else child.once('close', end).once('error', end);
      }),
    stopSignal: 'SIGTERM',
    stopGraceMs: 8000,
  };
}

/** The contract of a HAL9 process: once it serves, it writes one log line with `"event":"ready"`. */
function saysReady(line: string): boolean {
  if (!line.includes('"event":"ready"')) return false;
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === 'object' && parsed !== null && 'event' in parsed && parsed.event === 'ready';
  } catch {
    return false; // a line of something else that looks alike
  }
}

/** Flags of this Node that its children need too (none of a debugger's). */
function nodeFlags(): string[] {
  return process.execArgv.filter((flag) => flag.startsWith('--max-'));
}
