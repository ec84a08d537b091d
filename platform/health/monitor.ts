import { randomUUID } from 'node:crypto';
import type { HealthReport, HealthStore, Recovery } from '../../database/health.ts';
import type { ComponentReport, HealthState } from './component.ts';

/** What is asked of a component, again and again. */
export interface ComponentCheck {
  readonly name: string;
  readonly kind: string;
  readonly dependsOn: readonly string[];
  /**
   * Answers how the component is; a rejection means unhealthy, its message is the detail. Must heed the signal, which
   * aborts after the monitor's timeout.
   */
  readonly check: (signal: AbortSignal) => Promise<{ state: HealthState; detail: string }>;
  readonly recover?: RecoveryAction;
}

/** What gets a component back when its checks keep failing. */
export interface RecoveryAction {
  /** As recorded, e.g. `restart`. */
  readonly action: string;
  /** How long it must have been unhealthy, milliseconds; again as long until the next try. */
  readonly afterMs: number;
  readonly run: () => Promise<void>;
}

export interface MonitorOptions {
  readonly store: Pick<HealthStore, 'recordForPlatform' | 'removeFromPlatform'>;
  /** Milliseconds between two rounds of checks. Default 2,000. */
  readonly intervalMs?: number;
  /** Longest a check may take, milliseconds. Default 2,000. */
  readonly timeoutMs?: number;
  /** Failed rounds in a row before a component counts as unhealthy: one slow answer is no illness. Default 2. */
  readonly failures?: number;
}

/** Recoveries kept while the database is away; the oldest go first. */
const MOST_UNWRITTEN = 1000;

interface Watched {
  readonly check: ComponentCheck;
  report: ComponentReport;
  failedRounds: number;
  recoveringSince: number;
}

/** Watches components from one process, records how they are, and runs their recovery actions. */
export class HealthMonitor {
  readonly #options: MonitorOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #stopping = new AbortController();
  #unwritten: Recovery[] = [];
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** Adds a component; it counts as healthy until checked. */
  watch(check: ComponentCheck): void {
    const report: ComponentReport = { name: check.name, kind: check.kind, state: 'healthy', detail: 'Not checked yet.', since: new Date(), dependsOn: check.dependsOn };
    this.#watched.set(check.name, { check, report, failedRounds: 0, recoveringSince: Date.now() });
  }

  /** How the components are, by this monitor alone. */
  reports(): ComponentReport[] {
    return [...this.#watched.values()].map(({ report }) => report);
  }

  /** Records something that was done to get a component back. */
  recordRecovery(recovery: Omit<Recovery, 'id'>): void {
    this.#unwritten = [...this.#unwritten, { id: randomUUID(), ...recovery }].slice(-MOST_UNWRITTEN);
  }

  start(): void {
    const next = (): void => {
      this.#round = this.round().finally(() => {
        if (!this.#stopping.signal.aborted) this.#timer = setTimeout(next, this.#options.intervalMs ?? 2000);
      });
    };
    next();
  }

  /** Stops watching. Components are forgotten, for they are no longer anyone's business; recoveries are kept. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await this.#round;
    await this.#write([]);
    // The database may be on its way out too; what stays behind counts as stale.
    await this.#options.store.removeFromPlatform([...this.#watched.keys()]).catch(() => undefined);
  }

  /** Checks every component once and writes the result. Never rejects. */
  async round(): Promise<void> {
    await Promise.all([...this.#watched.values()].map((watched) => this.#examine(watched)));
    await this.#write(this.reports());
  }

  async #examine(watched: Watched): Promise<void> {
    const { check } = watched;
    const answer = await this.#ask(check);
    if (this.#stopping.signal.aborted) return;
    watched.failedRounds = answer.state === 'unhealthy' ? watched.failedRounds + 1 : 0;
    const patience = this.#options.failures ?? 2;
    const state = answer.state === 'unhealthy' && watched.failedRounds < patience && watched.report.state !== 'unhealthy' ? 'degraded' : answer.state;
    const changed = state !== watched.report.state;
    watched.report = { ...watched.report, state, detail: answer.detail, since: changed ? new Date() : watched.report.since };
    if (changed) watched.recoveringSince = Date.now();
    if (state === 'unhealthy') await this.#recover(watched);
  }

  /** What the component answers, unhealthy when it takes too long. */
  async #ask(check: ComponentCheck): Promise<{ state: HealthState; detail: string }> {
    const limit = new AbortController();
    const late = Promise.withResolvers<{ state: HealthState; detail: string }>();
    const timer = setTimeout(() => {
      late.resolve({ state: 'unhealthy', detail: 'It does not answer in time.' });
      limit.abort();
    }, this.#options.timeoutMs ?? 2000);
    const answered = check.check(limit.signal).catch((error: unknown) => ({ state: 'unhealthy' as const, detail: error instanceof Error ? error.message : 'The check failed.' }));
    try {
      return await Promise.race([answered, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #recover(watched: Watched): Promise<void> {
    const { recover } = watched.check;
    if (recover === undefined || Date.now() - watched.recoveringSince < recover.afterMs) return;
    watched.recoveringSince = Date.now();
    const startedAt = new Date();
    const facts = { component: watched.check.name, action: recover.action, reason: watched.report.detail, startedAt };
    try {
      await recover.run();
      this.recordRecovery({ ...facts, outcome: 'succeeded', endedAt: new Date() });
    } catch (error) {
      this.recordRecovery({ ...facts, reason: `${facts.reason} ${error instanceof Error ? error.message : String(error)}`, outcome: 'failed', endedAt: new Date() });
    }
  }

  async #write(reports: readonly ComponentReport[]): Promise<void> {
    const recoveries = this.#unwritten;
    const staleSeconds = Math.ceil(((this.#options.intervalMs ?? 2000) + (this.#options.timeoutMs ?? 2000)) / 1000) * 3;
    const rows: HealthReport[] = reports.map((report) => ({ ...report, staleSeconds }));
    try {
      await this.#options.store.recordForPlatform(rows, recoveries);
      const written = new Set(recoveries.map(({ id }) => id));
      this.#unwritten = this.#unwritten.filter(({ id }) => !written.has(id));
    } catch {
      // The database is one of the patients: the recoveries stay for the next round.
    }
  }
}
