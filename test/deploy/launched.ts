import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = join(import.meta.dirname, '../..');

/** A folder that servers of another user may enter. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hal9-deploy-'));
  chmodSync(folder, 0o755);
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** A command started as a user would, with its output. */
export class Launched {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<number | null>;

  constructor(args: readonly string[], env: Readonly<Record<string, string>>, command: readonly string[] = ['node', 'deploy/local/launch.js']) {
    const [program = 'node', ...rest] = command;
    this.child = spawn(program, [...rest, ...args], { cwd: ROOT, env: { ...cleanEnvironment(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
  }

  /** Address of the API once everything is up. @throws {Error} with the output when the command ends first, or after `limitMs`. */
  async up(limitMs = 90_000): Promise<string> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const url = /HAL9 is up after .* API (\S+) \(/.exec(this.stdout)?.[1];
      if (url !== undefined) return url;
      if (this.child.exitCode !== null || Date.now() > deadline) throw new Error(`not up: ${this.stdout}${this.stderr}`);
      await sleep(50);
    }
  }

  /** Sends the signal and waits for the end; answers the seconds that took. */
  async end(signal: NodeJS.Signals): Promise<number> {
    const start = Date.now();
    this.child.kill(signal);
    await this.ended;
    return (Date.now() - start) / 1000;
  }
}

/** Runs a command that is expected to fail before anything starts. */
export async function refusal(args: readonly string[], env: Readonly<Record<string, string>>, command?: readonly string[]): Promise<{ code: number | null; stderr: string; stdout: string }> {
  const launched = new Launched(args, env, command);
  const timer = setTimeout(() => launched.child.kill('SIGKILL'), 60_000);
  const code = await launched.ended;
  clearTimeout(timer);
  return { code, stderr: launched.stderr.trim(), stdout: launched.stdout };
}

/** Living processes that have the folder in their command line or environment. Linux only. */
export function processesOf(folder: string): { pid: number; command: string }[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    const command = read(`/proc/${entry}/cmdline`);
    return command !== '' && (command.includes(folder) || read(`/proc/${entry}/environ`).includes(folder)) ? [{ pid, command: command.replaceAll('\0', ' ').trim() }] : [];
  });
}

/** Waits until no process of the folder is left, and answers those that are after `limitMs`. */
export async function leftovers(folder: string, limitMs: number): Promise<string[]> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const left = processesOf(folder);
    if (left.length === 0 || Date.now() > deadline) return left.map(({ command }) => command);
    await sleep(100);
  }
}

/** Processes end while they are looked at; those read as empty. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** What a user's shell has: nothing of HAL9's, and nothing of the npm script that runs the tests but its coverage. */
function cleanEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries.filter(([name]) => ['HAL9_TEMPORAL_CLI', 'NODE_V8_COVERAGE'].includes(name) || !/^(HAL9_|DATABASE_|TEMPORAL_|npm_|NODE_|VITEST)/.test(name)));
}
