import http from 'node:http';
import https from 'node:https';
import { Database } from '../../database/database.ts';
import { HealthStore } from '../../database/health.ts';
import type { Config } from '../../platform/config/config.ts';
import { databaseTls } from '../../platform/database/connect.ts';
import { HealthMonitor, type ComponentCheck } from '../../platform/health/monitor.ts';
import { lazyConnection, temporalTarget, type ClosableConnection } from '../../platform/temporal/connect.ts';
import type { ProcessEvent, SupervisedProcess } from './supervised-process.ts';

/** What each process of a stack is, and what it cannot work without. */
const NATURE: Readonly<Record<string, { kind: string; dependsOn: readonly string[] }>> = {
  postgres: { kind: 'database', dependsOn: [] },
  temporal: { kind: 'engine', dependsOn: [] },
  api: { kind: 'api', dependsOn: ['postgres', 'temporal'] },
  core: { kind: 'worker', dependsOn: ['postgres', 'temporal'] },
  dispatcher: { kind: 'dispatcher', dependsOn: ['postgres', 'temporal'] },
  host: { kind: 'host', dependsOn: ['temporal', 'api'] },
};

export interface StackHealthOptions {
  config: Config;
  databaseUrl: string;
  temporalAddress: string;
  /** Where a process answers that it lives; undefined when it has no such address. */
  livenessUrl: (process: string) => string | undefined;
  /** Milliseconds a process may be deaf before it is killed and started again. */
  deafMs: number;
}

/** Watches the processes of a stack, records how they are, and gets them back. */
export class StackHealth {
  readonly #database: Database;
  readonly #temporal: ClosableConnection;
  readonly #monitor: HealthMonitor;
  readonly #options: StackHealthOptions;
  /** When and how a process ended, until it is back. */
  readonly #ended = new Map<string, { at: Date; how: string }>();

  private constructor(options: StackHealthOptions, database: Database, temporal: ClosableConnection) {
    this.#options = options;
    this.#database = database;
    this.#temporal = temporal;
    this.#monitor = new HealthMonitor({ store: new HealthStore(this.#database) });
  }

  static async open(options: StackHealthOptions): Promise<StackHealth> {
    const database = new Database({ url: options.databaseUrl, ssl: await databaseTls(options.config), poolSize: 2, applicationName: 'hal9-supervisor' });
    const target = await temporalTarget({ ...options.config, TEMPORAL_ADDRESS: options.temporalAddress });
    return new StackHealth(options, database, lazyConnection({ ...target, connectTimeout: '2s' }));
  }

  /** Watches the processes of the stack, and the databases also where they are someone else's. */
  watch(processes: readonly SupervisedProcess[]): void {
    for (const process of processes) this.#monitor.watch(this.#checkProcess(process));
    const own = new Set(processes.map(({ name }) => name));
    for (const name of ['postgres', 'temporal'].filter((external) => !own.has(external))) {
      this.#monitor.watch({
        name,
        ...natureOf(name),
        check: async (signal) => {
          await this.#answers(name, signal);
          return { state: 'healthy', detail: 'It answers.' };
        },
      });
    }
  }

  start(): void {
    this.#monitor.start();
  }

  /** Turns the end and the return of a process into a recovery. */
  handle(event: ProcessEvent): void {
    switch (event.type) {
      case 'ended':
        this.#ended.set(event.name, { at: new Date(), how: event.how });
        break;
      case 'ready': {
        const ended = this.#ended.get(event.name);
        if (ended === undefined) break;
        this.#ended.delete(event.name);
        this.#record(event.name, ended, 'succeeded');
        break;
      }
      case 'restart-failed': {
        const ended = this.#ended.get(event.name);
        if (ended !== undefined) this.#record(event.name, ended, 'failed');
        break;
      }
      case 'launched':
        break;
    }
  }

  /** Call before the databases end. */
  async stop(): Promise<void> {
    await this.#monitor.stop();
    await Promise.all([this.#database.close(), this.#temporal.close()]);
  }

  #record(component: string, ended: { at: Date; how: string }, outcome: 'succeeded' | 'failed'): void {
    this.#monitor.recordRecovery({ component, action: 'restart', reason: `The process ended by ${ended.how}.`, outcome, startedAt: ended.at, endedAt: new Date() });
  }

  #checkProcess(supervised: SupervisedProcess): ComponentCheck {
    const { name } = supervised;
    return {
      name,
      ...natureOf(name),
      check: async (signal) => {
        if (supervised.state !== 'ready') return { state: 'unhealthy', detail: `Its process is ${supervised.state === 'restarting' ? 'being started again' : supervised.state}.` };
        await this.#answers(name, signal);
        return { state: 'healthy', detail: supervised.restarts === 0 ? 'It answers.' : `It answers; started again ${supervised.restarts === 1 ? 'once' : `${supervised.restarts} times`}.` };
      },
      recover: {
        action: 'kill and restart',
        afterMs: this.#options.deafMs,
        run: async () => {
          // A process that is being started again already needs no second push.
          if (supervised.state !== 'ready') return;
          this.#ended.set(name, { at: new Date(), how: 'the supervisor, for it was deaf' });
          supervised.kill('SIGKILL');
        },
      },
    };
  }

  async #answers(name: string, signal: AbortSignal): Promise<void> {
    if (name === 'postgres') {
      await this.#database.systemPool.query('select 1').catch((cause: unknown) => {
        throw new Error('It does not answer.', { cause });
      });
      return;
    }
    if (name === 'temporal') {
      const { connection } = this.#temporal;
      await connection.withAbortSignal(signal, () => connection.workflowService.getSystemInfo({})).catch((cause: unknown) => {
        throw new Error('It does not answer.', { cause });
      });
      return;
    }
    const url = this.#options.livenessUrl(name);
    if (url === undefined) return;
    const status = await statusOf(url, signal);
    if (status !== 200) throw new Error(`It answers with status ${status}.`);
  }
}

/** `core-2` is what `core` is. */
function natureOf(name: string): { kind: string; dependsOn: readonly string[] } {
  return NATURE[name.replace(/-\d+$/, '')] ?? { kind: 'process', dependsOn: [] };
}

/** HTTP status of a GET. Certificates are not checked: this asks its own child, on this machine, whether it lives. */
async function statusOf(url: string, signal: AbortSignal): Promise<number> {
  const ask = url.startsWith('https:') ? https.get : http.get;
  return new Promise((resolve, reject) => {
    ask(url, { signal, rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    }).once('error', (cause) => reject(new Error('It does not answer.', { cause })));
  });
}
