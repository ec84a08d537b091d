import type { Logger } from 'pino';
import type { Database } from '../../database/database.ts';
import { RunEventStore, type ProgressReport } from '../../database/run-events.ts';
import type { Progress } from '../../schemas/names/messages.ts';
import { formatRunId, parseWorkflowId } from '../../schemas/names/workflow-id.ts';

/** How long reports of one run share a write, ms: so often people see a run move at the most. */
const FLUSH_MS = 250;
/** Runs of one statement. */
const BATCH = 500;
/** Flushes for which a report waits for its run to be in the read model; the projector puts it there within seconds. */
const PATIENCE = 40;
/** Longest text of a step or message that is kept, UTF-16 code units. */
const TEXT = 500;

interface Waiting {
  readonly report: ProgressReport;
  readonly tries: number;
}

/**
 * Writes how far runs are into the read model, the newest report of each run only, many in one statement. A run that ends before
 * its first report is written costs nothing. One per worker process; `close` it.
 */
export class ProgressReporter {
  readonly #store: RunEventStore;
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #announced: (operation: string) => boolean;
  readonly #waiting = new Map<string, Waiting>();
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<void> | undefined;
  #failing = false;
  #ended = false;

  /** @param announced whether the end of a run of the operation is worth a look at once; the others are found by the projector's next. Default: of every one. */
  constructor(database: Database, logger: Pick<Logger, 'warn'>, announced: (operation: string) => boolean = () => true) {
    this.#store = new RunEventStore(database);
    this.#logger = logger;
    this.#announced = announced;
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS);
    this.#timer.unref();
  }

  /** Takes what a run answered to `progress`; anything that is not a progress is left out. */
  report(workflowId: string, progress: unknown): void {
    const parts = parseWorkflowId(workflowId);
    const shown = shownProgress(progress);
    if (parts === undefined || shown === undefined) return;
    this.#waiting.set(workflowId, { report: { orgId: parts.orgId, runId: formatRunId(parts), progress: shown }, tries: 0 });
  }

  /** The run has ended: its end says more, and the projector looks for it. */
  forget(workflowId: string): void {
    this.#waiting.delete(workflowId);
    const operation = parseWorkflowId(workflowId)?.operation;
    if (operation === undefined || this.#announced(operation)) this.#ended = true;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    await this.#write();
  }

  #flush(): void {
    if (this.#waiting.size === 0 && !this.#ended) return;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    const batch = [...this.#waiting].slice(0, BATCH);
    for (const [workflowId] of batch) this.#waiting.delete(workflowId);
    const ended = this.#ended;
    this.#ended = false;
    try {
      if (ended) await this.#store.announceEndsOfAllOrganisations();
      const later = new Set((await this.#store.reportOfAllOrganisations(batch.map(([, { report }]) => report))).map(({ orgId, runId }) => `${orgId} ${runId}`));
      this.#putBack(batch.filter(([, { report, tries }]) => tries < PATIENCE && later.has(`${report.orgId} ${report.runId}`)));
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'progress of runs not written yet');
      this.#failing = true;
      this.#putBack(batch.filter(([, { tries }]) => tries < PATIENCE));
    }
  }

  /** What was reported since is newer. */
  #putBack(batch: readonly [string, Waiting][]): void {
    for (const [workflowId, { report, tries }] of batch) if (!this.#waiting.has(workflowId)) this.#waiting.set(workflowId, { report, tries: tries + 1 });
  }
}

/** Undefined for what is not a progress. */
function shownProgress(value: unknown): Progress | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { step, done, total, message }: Partial<Record<keyof Progress, unknown>> = value;
  if (typeof step !== 'string' || typeof done !== 'number' || typeof message !== 'string' || !(total === null || typeof total === 'number')) return undefined;
  return { step: storable(step), done, total, message: storable(message) };
}

/** PostgreSQL's JSON holds neither NUL nor halves of a character. */
function storable(text: string): string {
  return text.slice(0, TEXT).replaceAll('\0', '\uFFFD').toWellFormed();
}
