import type { Browser, BrowserContext, BrowserContextOptions } from 'playwright-core';
import type { Logger } from 'pino';
import { readCommandLine, readProcesses } from '../host/process-table.ts';
import { BrowserError } from './browser-error.ts';
import { launchChromium } from './chromium.ts';
import { Slots, type Slot } from './slots.ts';

export interface ChromiumPoolOptions {
  /** Contexts open at once, all processes together. */
  readonly slots: number;
  readonly executablePath: string | undefined;
  readonly logger: Logger;
  /** Contexts in one Chromium at once; default 4. A crash of the process takes no more than these. */
  readonly contextsPerProcess?: number;
  /** Contexts after which a Chromium is replaced; default 100. */
  readonly usesPerProcess?: number;
  /** Memory of one page's process, MiB, over which it is ended; default 1,024. */
  readonly pageMegabytes?: number;
}

/** A context of its own for one session. */
export interface PooledContext {
  readonly context: BrowserContext;
  /** Rejects when the Chromium under it is gone. */
  readonly gone: Promise<never>;
  release(): Promise<void>;
}

interface Process {
  readonly browser: Promise<Browser>;
  uses: number;
  open: number;
  retired: boolean;
  idle?: NodeJS.Timeout | undefined;
}

const WATCH_MS = 1_000;
const CLOSE_MS = 5_000;
/** How long a Chromium without a context is kept for the next one, ms; ready contexts keep it longer. */
const IDLE_MS = 2_000;

/** The Chromium under a session died: nothing is wrong with the session itself. */
export class BrowserGone extends Error {
  override readonly name = 'BrowserGone';
}

/**
 * Chromium processes for the sessions of one worker. Each serves some contexts at a time, is kept warm for a while after its last and is
 * replaced after many; a page that takes too much memory loses its process, and with it only its own session.
 */
export class ChromiumPool {
  readonly #options: Required<Omit<ChromiumPoolOptions, 'executablePath' | 'logger'>> & Pick<ChromiumPoolOptions, 'executablePath' | 'logger'>;
  readonly #processes = new Set<Process>();
  readonly #slots: Slots;
  #watch: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ChromiumPoolOptions) {
    this.#options = { contextsPerProcess: 4, usesPerProcess: 100, pageMegabytes: 1024, ...options };
    this.#slots = new Slots(options.slots);
  }

  /** Slots that are free. */
  get free(): number {
    return this.#slots.free;
  }

  /** Whether a slot is taken. */
  get inUse(): boolean {
    return this.#slots.inUse > 0;
  }

  /** Takes a slot for an organisation. Answers undefined where none was free within the time; open a context with it, and release it afterwards. */
  reserve(orgId: string, withinMs: number): Promise<Slot | undefined> {
    return this.#slots.take(orgId, withinMs);
  }

  /** Opens a context in a warm Chromium; the slot must be reserved. */
  async open(options: BrowserContextOptions): Promise<PooledContext> {
    const process = this.#process();
    process.uses += 1;
    process.open += 1;
    clearTimeout(process.idle);
    const browser = await process.browser.catch((error: unknown) => {
      this.#forget(process);
      throw error;
    });
    let onGone = (): void => undefined;
    const gone = new Promise<never>((_, reject) => {
      onGone = () => reject(new BrowserGone('the browser ended'));
      browser.once('disconnected', onGone);
    });
    gone.catch(() => undefined); // nobody may be listening when it happens
    const left = (): void => {
      browser.off('disconnected', onGone);
      process.open -= 1;
      this.#tidy(process, browser);
    };
    try {
      const context = await browser.newContext(options);
      return {
        context,
        gone,
        release: async () => {
          await withTimeout(context.close(), CLOSE_MS).catch((error: unknown) => {
            // A context that cannot be closed holds a page that never ends: its whole process goes once the others are done.
            this.#options.logger.warn({ reason: error instanceof Error ? error.message.split('\n')[0] : String(error) }, 'browser context not closed');
            process.retired = true;
          });
          left();
        },
      };
    } catch (error) {
      left();
      throw browser.isConnected() ? error : new BrowserGone('the browser ended');
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watch);
    this.#slots.close();
    await Promise.all(
      [...this.#processes].map(async ({ browser }) => {
        const running = await browser.catch(() => undefined); // it never came up: who asked for it was told
        await running?.close().catch(() => undefined); // it is gone already
      }),
    );
    this.#processes.clear();
  }

  #process(): Process {
    for (const process of this.#processes) {
      if (!process.retired && process.open < this.#options.contextsPerProcess && process.uses < this.#options.usesPerProcess) return process;
    }
    return this.#launch();
  }

  #launch(): Process {
    const process: Process = { browser: launchChromium({ executablePath: this.#options.executablePath, flags: [`--js-flags=--max-old-space-size=${String(Math.floor(this.#options.pageMegabytes / 2))}`] }), uses: 0, open: 0, retired: false };
    this.#processes.add(process);
    process.browser.then(
      (browser) => {
        browser.once('disconnected', () => this.#forget(process));
        if (this.#closed) void browser.close();
      },
      () => this.#forget(process),
    );
    this.#watch ??= setInterval(() => {
      try {
        this.#endBloated();
      } catch (error) {
        this.#options.logger.warn({ err: error }, 'memory of pages not read');
      }
    }, WATCH_MS).unref();
    return process;
  }

  /** Without a Chromium there is no memory to watch. */
  #forget(process: Process): void {
    this.#processes.delete(process);
    if (this.#processes.size > 0) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  #tidy(process: Process, browser: Browser): void {
    if (process.uses >= this.#options.usesPerProcess) process.retired = true;
    if (process.open > 0) return;
    const end = (): void => {
      if (process.open > 0) return;
      this.#forget(process);
      void browser.close().catch(() => undefined); // it is gone already
    };
    if (process.retired) end();
    else process.idle = setTimeout(end, IDLE_MS).unref();
  }

  /** Ends page processes that hold more memory than one may; Chromium tells their pages by a crash. */
  #endBloated(): void {
    for (const { pid, megabytes } of pageProcesses(process.pid)) {
      if (megabytes <= this.#options.pageMegabytes) continue;
      this.#options.logger.warn({ pid, megabytes: Math.round(megabytes) }, 'a page holds too much memory, its process is ended');
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
      }
    }
  }
}

/** Renderer processes below a process, with their resident memory. Linux; elsewhere none are found. */
function pageProcesses(root: number): { pid: number; megabytes: number }[] {
  const processes = new Map(readProcesses().map((reading) => [reading.pid, reading]));
  const isBelow = (pid: number): boolean => {
    for (let at: number | undefined = pid, depth = 0; at !== undefined && depth < 20; at = processes.get(at)?.parentPid, depth += 1) if (at === root) return true;
    return false;
  };
  return [...processes.values()].filter(({ pid }) => isBelow(pid) && readCommandLine(pid).includes('--type=renderer')).map(({ pid, memoryBytes }) => ({ pid, megabytes: memoryBytes / (1024 * 1024) }));
}

async function withTimeout<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([work, new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new BrowserError('SessionLimit', 'the page does not let go')), ms);
    })]);
  } finally {
    clearTimeout(timer);
  }
}
