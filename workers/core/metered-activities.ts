import { activityInfo } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { RegisteredActivities } from '../../activities/dependencies.ts';
import type { Usage } from '../../database/usage-events.ts';
import type { UsageStore } from '../../database/usage.ts';
import { workflowOrganisation } from '../../schemas/names/workflow-id.ts';
import { measured, type ProcessorTime } from './processor-time.ts';

type Activity = RegisteredActivities['queues'][string][string];

/** How often work that goes on is written down, milliseconds: a quota is noticed while it lasts. */
const WRITE_MS = 60_000;
/** Uses that wait for a database that is away. */
const MOST_UNWRITTEN = 10_000;

export interface ActivityMeterOptions {
  readonly usage: Pick<UsageStore, 'record'>;
  readonly logger: Pick<Logger, 'warn'>;
  /** Milliseconds; default 60,000. */
  readonly writeMs?: number;
}

/**
 * Counts the processor time of people's activities as `plugin-cpu-ms` of the organisation that started the run: each attempt by itself,
 * written before Temporal hears of its end, so that it counts once whatever is repeated. An attempt whose process died counts up to
 * what was written of it.
 */
export class ActivityMeter {
  readonly #options: ActivityMeterOptions;
  readonly #unwritten: Usage[] = [];

  constructor(options: ActivityMeterOptions) {
    this.#options = options;
  }

  /** The same activities, counted. */
  metered(registered: RegisteredActivities): RegisteredActivities {
    const queues = Object.entries(registered.queues).map(([queue, named]) => [queue, Object.fromEntries(Object.entries(named).map(([name, activity]) => [name, this.#metered(activity)]))]);
    return { ...registered, queues: Object.fromEntries(queues) };
  }

  /** Writes what a database that was away has not taken yet. */
  async close(): Promise<void> {
    await this.#write();
  }

  #metered(activity: Activity): Activity {
    return (...args) =>
      measured(async (time) => {
        const attempt = new Attempt(time);
        const timer = setInterval(() => void this.#note(attempt), this.#options.writeMs ?? WRITE_MS);
        try {
          return await activity(...args);
        } finally {
          clearInterval(timer);
          await this.#note(attempt);
        }
      });
  }

  async #note(attempt: Attempt): Promise<void> {
    const use = attempt.use();
    if (use === undefined) return;
    this.#unwritten.push(use);
    await this.#write();
  }

  /** The work itself is done, so a database that is away does not fail it: its use is written with the next. */
  async #write(): Promise<void> {
    for (let use = this.#unwritten.shift(); use !== undefined; use = this.#unwritten.shift()) {
      try {
        await this.#options.usage.record(use);
      } catch (error) {
        this.#unwritten.unshift(use);
        const lost = this.#unwritten.splice(MOST_UNWRITTEN).length;
        this.#options.logger.warn({ waiting: this.#unwritten.length, lost, reason: error instanceof Error ? error.message : String(error) }, 'processor time of activities not written yet');
        return;
      }
    }
  }
}

/** One attempt of an activity, as far as it is counted. */
class Attempt {
  readonly #time: ProcessorTime;
  readonly #orgId: string | undefined;
  readonly #key: string;
  #counted = 0;
  #parts = 0;

  constructor(time: ProcessorTime) {
    const { workflowExecution, activityId, attempt } = activityInfo();
    this.#time = time;
    this.#orgId = workflowOrganisation(workflowExecution?.workflowId ?? '');
    this.#key = `${workflowExecution?.runId ?? ''}/${activityId}/${String(attempt)}`;
  }

  /** What has come since the last time, in whole milliseconds; a part of one counts as one when it is all there is. Undefined for nothing new. */
  use(): Usage | undefined {
    const whole = Math.max(1, Math.floor(this.#time.microseconds / 1000));
    const quantity = whole - this.#counted;
    if (this.#orgId === undefined || quantity <= 0) return undefined;
    this.#counted = whole;
    this.#parts += 1;
    return { orgId: this.#orgId, meter: 'plugin-cpu-ms', key: `${this.#key}/${String(this.#parts)}`, quantity };
  }
}
