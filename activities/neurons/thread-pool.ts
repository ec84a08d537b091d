import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { DatabaseOptions } from '../../database/database.ts';
import type { FailureName } from '../../schemas/errors.ts';
import type { Answers, Job } from './batch-jobs.ts';
import { isTraced, type LayerSpan, recordEvaluation } from './evaluation-spans.ts';
import type { ThreadAnswer, ThreadRequest, ThreadSettings } from './thread-messages.ts';

export interface ThreadPoolOptions {
  readonly database: DatabaseOptions;
  readonly threads: number;
  /** Jobs one thread works on at a time; more than one pays only where jobs mostly wait for the database. */
  readonly jobsPerThread: number;
  /** Heap of one thread, MiB. A batch that needs more ends the thread, not the process. */
  readonly heapMb: number;
  readonly logger: Logger;
}

/** The thread ended under the job: out of memory, out of time, or a crash. */
export class ThreadDied extends Error {
  override readonly name = 'ThreadDied';
}

/** The job failed in an orderly way. */
export class JobFailed extends Error {
  override readonly name = 'JobFailed';
  readonly type: FailureName | undefined;
  /** SQLSTATE, when the database refused. */
  readonly code: string | undefined;

  constructor(failure: { message: string; type: FailureName | undefined; code: string | undefined }) {
    super(failure.message);
    this.type = failure.type;
    this.code = failure.code;
  }
}

interface Evaluated {
  readonly answer: Answers[Job['kind']];
  readonly spans: readonly LayerSpan[];
}

interface Task {
  readonly job: Job;
  readonly traced: boolean;
  readonly timeoutMs: number;
  readonly resolve: (evaluated: Evaluated) => void;
  readonly reject: (reason: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly tasks: Map<number, { task: Task; timer: NodeJS.Timeout }>;
  /** Why it is being ended, once it is. */
  ending: string | undefined;
}

/** Evaluation threads. They start with their first job, or by `warm`; one that dies is replaced by the next job. */
export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #threads = new Set<Thread>();
  readonly #waiting: Task[] = [];
  #nextId = 1;
  #closed = false;

  constructor(options: ThreadPoolOptions) {
    this.#options = options;
  }

  /** Starts all threads ahead of their first job: loading the code of one takes a second that nobody should wait for. */
  warm(): void {
    while (this.#threads.size < this.#options.threads) this.#start();
  }

  /**
   * Runs a job. When it is aborted or its time is up its thread is ended, and with it the transaction.
   * @throws {ThreadDied | JobFailed} or the signal's reason.
   */
  async run<K extends Job['kind']>(job: Extract<Job, { kind: K }>, options: { signal?: AbortSignal; timeoutMs: number }): Promise<Answers[K]>;
  async run(job: Job, { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs: number }): Promise<Answers[Job['kind']]> {
    signal?.throwIfAborted();
    if (this.#closed) throw new ThreadDied('the thread pool is closed');
    const { promise, resolve, reject } = Promise.withResolvers<Evaluated>();
    const task: Task = { job, traced: isTraced(), timeoutMs, resolve, reject };
    this.#waiting.push(task);
    const abandon = (): void => {
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
      this.#abandon(task);
    };
    signal?.addEventListener('abort', abandon, { once: true });
    this.#dispatch();
    try {
      const { answer, spans } = await promise;
      recordEvaluation(spans);
      return answer;
    } finally {
      signal?.removeEventListener('abort', abandon);
    }
  }

  /** Ends all threads; jobs under way fail and their transactions roll back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const task of this.#waiting.splice(0)) task.reject(new ThreadDied('the thread pool is closed'));
    await Promise.all([...this.#threads].map((thread) => this.#end(thread, 'the thread pool is closed')));
  }

  #abandon(task: Task): void {
    const position = this.#waiting.indexOf(task);
    if (position >= 0) {
      this.#waiting.splice(position, 1);
      return;
    }
    for (const thread of this.#threads) {
      const running = [...thread.tasks.values()];
      if (!running.some((entry) => entry.task === task)) continue;
      // Where others share the thread the job runs on unheard: it is short, and its result is fenced.
      if (running.length === 1) void this.#end(thread, 'the job was abandoned');
    }
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#freeThread();
      if (thread === undefined) return;
      const task = this.#waiting.shift();
      if (task === undefined) return;
      const id = this.#nextId++;
      const timer = setTimeout(() => void this.#end(thread, `the evaluation took longer than ${String(task.timeoutMs / 1000)} s`), task.timeoutMs);
      thread.tasks.set(id, { task, timer });
      thread.worker.postMessage({ id, job: task.job, traced: task.traced } satisfies ThreadRequest);
    }
  }

  #freeThread(): Thread | undefined {
    let best: Thread | undefined;
    for (const thread of this.#threads) {
      if (thread.ending !== undefined || thread.tasks.size >= this.#options.jobsPerThread) continue;
      if (best === undefined || thread.tasks.size < best.tasks.size) best = thread;
    }
    if (best?.tasks.size === 0) return best;
    const living = [...this.#threads].filter((thread) => thread.ending === undefined).length;
    return living < this.#options.threads ? this.#start() : best;
  }

  #start(): Thread {
    const { database, heapMb, jobsPerThread, logger } = this.#options;
    const settings: ThreadSettings = { database: { ...database, poolSize: jobsPerThread, applicationName: `${database.applicationName}-thread` } };
    // The entry has this file's extension: TypeScript in the repository, JavaScript in a published package.
    const worker = new Worker(new URL(`./thread${extname(import.meta.filename)}`, import.meta.url), {
      workerData: settings,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    });
    const thread: Thread = { worker, tasks: new Map(), ending: undefined };
    this.#threads.add(thread);
    worker.on('message', (message: ThreadAnswer) => this.#answered(thread, message));
    worker.on('error', (error) => {
      thread.ending ??= error.message;
    });
    worker.on('exit', (code) => {
      this.#threads.delete(thread);
      const cause = thread.ending ?? `exit code ${String(code)}`;
      if (thread.tasks.size > 0) logger.warn({ cause, jobs: thread.tasks.size }, 'an evaluation thread ended under its jobs');
      for (const { task, timer } of thread.tasks.values()) {
        clearTimeout(timer);
        task.reject(new ThreadDied(cause));
      }
      thread.tasks.clear();
      if (!this.#closed) this.#dispatch();
    });
    return thread;
  }

  #answered(thread: Thread, message: ThreadAnswer): void {
    const entry = thread.tasks.get(message.id);
    if (entry === undefined) return;
    thread.tasks.delete(message.id);
    clearTimeout(entry.timer);
    if ('failure' in message) entry.task.reject(new JobFailed(message.failure));
    else entry.task.resolve(message);
    this.#dispatch();
  }

  async #end(thread: Thread, cause: string): Promise<void> {
    thread.ending ??= cause;
    await thread.worker.terminate();
  }
}
