import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess, hasEnded } from './child-process.ts';
import type { LogFile } from './log-file.ts';
import { SetupError } from './setup-error.ts';

const FIRST_BACKOFF_MS = 200;
const LONGEST_BACKOFF_MS = 10_000;
/** A process that lived this long after it was ready starts its next backoff from the beginning. */
const STEADY_MS = 30_000;

export type ProcessState = 'starting' | 'ready' | 'restarting' | 'stopped';

export interface ProcessSpecification {
  readonly name: string;
  launch(): ChildProcess;
  /** Resolves when the child does its work. `line` hands over each line it writes. @throws {Error} when it cannot. */
  ready(child: ChildProcess, onLine: (listener: (line: string) => void) => void): Promise<void>;
  /** Runs before each start after a crash. */
  recover?(): Promise<void>;
  readonly stopSignal: NodeJS.Signals;
  readonly stopGraceMs: number;
  /** Times the first start is tried: what an earlier crash left may need a moment to go away. Default 1. */
  readonly startAttempts?: number;
}

/** What happened to a process, as `name` and `pid` at that time. */
export type ProcessEvent =
  | { readonly type: 'ready'; readonly name: string; readonly pid: number; readonly restarts: number }
  | { readonly type: 'launched'; readonly name: string; readonly pid: number }
  | { readonly type: 'ended'; readonly name: string; readonly pid: number; readonly how: string }
  | { readonly type: 'restart-failed'; readonly name: string; readonly reason: string };

export interface SupervisorOptions {
  readonly log: LogFile;
  readonly onEvent: (event: ProcessEvent) => void;
  /** Gets each line the process writes, beside the log. */
  readonly onLine?: (name: string, line: string) => void;
}

/** One child that is started again, with exponential backoff, until it is stopped on purpose. */
export class SupervisedProcess {
  readonly name: string;
  readonly #specification: ProcessSpecification;
  readonly #options: SupervisorOptions;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #state: ProcessState = 'starting';
  #since = new Date();
  #restarts = 0;
  #lastLine = '';
  #errorLine = '';
  #whenReady = Promise.withResolvers<void>();
  #loop: Promise<void> = Promise.resolve();

  constructor(specification: ProcessSpecification, options: SupervisorOptions) {
    this.name = specification.name;
    this.#specification = specification;
    this.#options = options;
    // Who waits for it sees the failure; nobody has to wait.
    this.#whenReady.promise.catch(() => undefined);
  }

  get state(): ProcessState {
    return this.#state;
  }

  /** When the present state began. */
  get since(): Date {
    return this.#since;
  }

  /** Starts after a crash so far. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Undefined while there is no process. */
  get pid(): number | undefined {
    return this.#child === undefined || hasEnded(this.#child) ? undefined : this.#child.pid;
  }

  /**
   * Starts it for the first time; from then on it is supervised.
   * @throws {SetupError} when the first start fails, with what the process said last and where the rest is.
   */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      this.#stopping.signal.throwIfAborted();
      const child = this.#launch();
      try {
        await this.#awaitReady(child);
        this.#loop = this.#supervise(child);
        return;
      } catch (error) {
        await endProcess(child, this.#specification.stopSignal, 2000);
        if (attempt >= (this.#specification.startAttempts ?? 1) || this.#stopping.signal.aborted) {
          this.#options.log.close();
          const reason = this.#errorLine === '' ? this.#lastLine : this.#errorLine;
          throw new SetupError(`${error instanceof Error ? error.message : String(error)}${reason === '' ? '' : ` (${reason})`}`, `see ${this.#options.log.path}`, { cause: error });
        }
      }
      await sleep(FIRST_BACKOFF_MS * 2 ** attempt, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      await this.#specification.recover?.();
    }
  }

  /** Sends a signal to the process; false when there is none. */
  kill(signal: NodeJS.Signals): boolean {
    return this.pid !== undefined && this.#child?.kill(signal) === true;
  }

  /** Resolves when the process is ready, now or after its restart. Rejects when it was stopped. */
  async whenReady(): Promise<void> {
    return this.#whenReady.promise;
  }

  /** Ends the process for good. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#whenReady.reject(new Error(`${this.name} was stopped`));
    if (this.#child !== undefined) await endProcess(this.#child, this.#specification.stopSignal, this.#specification.stopGraceMs);
    await this.#loop;
    this.#enter('stopped');
    this.#options.log.close();
  }

  async #supervise(first: ChildProcess): Promise<void> {
    let child = first;
    let backoff = FIRST_BACKOFF_MS;
    let readyAt = Date.now();
    for (;;) {
      await ended(child);
      if (this.#stopping.signal.aborted) return;
      if (this.#state === 'ready') {
        this.#whenReady = Promise.withResolvers<void>();
        this.#whenReady.promise.catch(() => undefined);
      }
      this.#enter('restarting');
      if (Date.now() - readyAt > STEADY_MS) backoff = FIRST_BACKOFF_MS;
      await sleep(backoff, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      backoff = Math.min(backoff * 2, LONGEST_BACKOFF_MS);
      if (this.#stopping.signal.aborted) return;
      try {
        await this.#specification.recover?.();
        if (this.#stopping.signal.aborted) return;
        child = this.#launch();
        this.#restarts += 1;
        await this.#awaitReady(child);
        readyAt = Date.now();
      } catch (error) {
        this.#options.onEvent({ type: 'restart-failed', name: this.name, reason: error instanceof Error ? error.message : String(error) });
        await endProcess(child, this.#specification.stopSignal, 2000);
      }
    }
  }

  #launch(): ChildProcess {
    this.#errorLine = '';
    const child = this.#specification.launch();
    this.#child = child;
    child.once('error', (error) => {
      this.#lastLine = error.message;
    });
    child.once('exit', (code, signal) => {
      this.#options.onEvent({ type: 'ended', name: this.name, pid: child.pid ?? 0, how: signal === null ? `exit code ${code ?? 0}` : signal });
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      takeLines(stream, (lines) => {
        // One write for all that came together: a busy API hands over dozens of request lines at a time.
        this.#options.log.append(`${lines.join('\n')}\n`);
        for (const line of lines) this.#heard(line);
      });
    }
    if (child.pid !== undefined) this.#options.onEvent({ type: 'launched', name: this.name, pid: child.pid });
    return child;
  }

  readonly #listeners = new Set<(line: string) => void>();

  #heard(line: string): void {
    if (line.trim() !== '') this.#lastLine = line.trim().slice(0, 300);
    this.#errorLine = complaint(line) ?? this.#errorLine;
    for (const listener of this.#listeners) listener(line);
    this.#options.onLine?.(this.name, line);
  }

  async #awaitReady(child: ChildProcess): Promise<void> {
    const listeners: ((line: string) => void)[] = [];
    try {
      await this.#specification.ready(child, (listener) => {
        listeners.push(listener);
        this.#listeners.add(listener);
      });
    } finally {
      for (const listener of listeners) this.#listeners.delete(listener);
    }
    this.#enter('ready');
    this.#whenReady.resolve();
    this.#options.onEvent({ type: 'ready', name: this.name, pid: child.pid ?? 0, restarts: this.#restarts });
  }

  #enter(state: ProcessState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#since = new Date();
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return;
  await new Promise<void>((resolve) => child.once('exit', () => resolve()));
}

/** Hands over the complete lines of each chunk together, and what is left without an end when the stream closes. */
function takeLines(stream: Readable, take: (lines: string[]) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split(/\r?\n/);
    rest = lines.pop() ?? '';
    if (lines.length > 0) take(lines);
  });
  stream.once('close', () => {
    if (rest !== '') take([rest]);
    rest = '';
  });
}

/** What a line complains of: the message of an error in HAL9's own log format, or a line of text that names one. */
function complaint(line: string): string | undefined {
  if (!line.startsWith('{')) return /\b(\w*Error|FATAL|PANIC|error):/.test(line) ? line.trim().slice(0, 300) : undefined;
  // Most lines are of requests that went well: only the ones that may complain are worth parsing.
  if (!/"level":[5-9]/.test(line)) return undefined;
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== 'object' || parsed === null || !('level' in parsed) || typeof parsed.level !== 'number' || parsed.level < 50) return undefined;
    const message = 'msg' in parsed ? String(parsed.msg) : '';
    const error = 'err' in parsed && typeof parsed.err === 'object' && parsed.err !== null && 'message' in parsed.err ? String(parsed.err.message) : '';
    return [message, error].filter((part) => part !== '').filter((part, index, all) => all.indexOf(part) === index).join(': ').slice(0, 300);
  } catch {
    return undefined; // text that looks like JSON
  }
}
