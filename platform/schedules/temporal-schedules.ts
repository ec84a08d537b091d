import { isGrpcServiceError, ScheduleAlreadyRunning, ScheduleNotFoundError, type Backfill, type Client, type ScheduleOptionsStartWorkflowAction, type ScheduleSpec, type Workflow } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { z } from 'zod';
import type { StoredSchedule } from '../../database/schedules.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { workflowName } from '../../schemas/operations/operation.ts';
import scheduledRun, { scheduledRunInputSchema } from '../../schemas/operations/scheduled-run.ts';
import { scheduleDraftSchema, type Calendar, type Overlap, type ScheduleDraft } from '../../schemas/schedules/definition.ts';
import { fromTemporal } from '../operations/temporal-failures.ts';

const RPC_MS = 10_000;
/** `INVALID_ARGUMENT` of gRPC. */
const INVALID = 3;
const SCHEDULE_ID = /^([0-9a-f-]{36})\/schedule\/([0-9a-f-]{36})$/;

/** What Temporal says of a schedule. */
export interface ScheduleTimes {
  /** The next ten at most; none while paused. */
  readonly next: readonly Date[];
  /** Firings left under the limit; null without one. */
  readonly remaining: number | null;
  /** Also by Temporal itself, after a failure. */
  readonly paused: boolean;
  readonly running: number;
  readonly taken: number;
  readonly missedCatchUp: number;
  readonly skippedOverlap: number;
}

/** What brings a lost row back. */
const keptSchema = z.object({
  version: z.int(),
  draft: scheduleDraftSchema,
  owner: z.object({ kind: z.string(), id: z.string(), scopes: z.array(z.string()) }),
  pausedBy: z.enum(['person', 'hal9']).nullable(),
  note: z.string().nullable(),
});
export type KeptSchedule = z.infer<typeof keptSchema>;

/** The version of a schedule that Temporal will not have, with its words. */
export class ScheduleRefused extends Error {
  override readonly name = 'ScheduleRefused';
}

/** Temporal's side of the schedules: ids `<orgId>/schedule/<id>`, never personal data. */
export class TemporalSchedules {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * Makes Temporal's schedule as the row says, whether or not it is there.
   * @param spent firings that count against the limit.
   * @throws {ScheduleRefused} when it will never have it; `HalError` DependencyUnavailable while it does not answer.
   */
  async apply(schedule: StoredSchedule, spent: number): Promise<void> {
    const { orgId, id, draft, pausedAt } = schedule;
    const options = {
      spec: specOf(draft),
      action: actionOf(schedule),
      policies: { overlap: OVERLAP[draft.overlap], catchupWindow: draft.catchUpSeconds * 1000, pauseOnFailure: draft.pauseOnFailure },
      typedSearchAttributes: attributesOf(orgId),
      state: { paused: pausedAt !== null, ...(draft.limit === undefined ? {} : { remainingActions: Math.max(0, draft.limit - spent) }) },
    };
    await this.#call(orgId, id, async () => {
      const handle = this.#client.schedule.getHandle(scheduleIdOf(orgId, id));
      try {
        await handle.update(() => ({ ...options, state: { ...options.state, note: '' } }));
      } catch (error) {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
        // The server takes no limit of 0 on creation; one that is used up stays away.
        if (draft.limit !== undefined && spent >= draft.limit) return;
        try {
          await this.#client.schedule.create({ scheduleId: scheduleIdOf(orgId, id), ...options });
        } catch (failure) {
          // The API and the dispatcher apply a new one at the same moment: whoever comes second updates.
          if (!(failure instanceof ScheduleAlreadyRunning)) throw failure;
          await handle.update(() => ({ ...options, state: { ...options.state, note: '' } }));
        }
      }
    });
  }

  /** It need not be there. */
  async remove(orgId: string, id: string): Promise<void> {
    await this.#call(orgId, id, async () => {
      try {
        await this.#client.schedule.getHandle(scheduleIdOf(orgId, id)).delete();
      } catch (error) {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
      }
    });
  }

  /** Undefined when Temporal does not have it. */
  async describe(orgId: string, id: string): Promise<ScheduleTimes | undefined> {
    return this.#call(orgId, id, async () => {
      try {
        const { info, state } = await this.#client.schedule.getHandle(scheduleIdOf(orgId, id)).describe();
        return {
          next: info.nextActionTimes.slice(0, 10),
          remaining: state.remainingActions ?? null,
          paused: state.paused,
          running: info.runningActions.length,
          taken: info.numActionsTaken,
          missedCatchUp: info.numActionsMissedCatchupWindow,
          skippedOverlap: info.numActionsSkippedOverlap,
        };
      } catch (error) {
        if (error instanceof ScheduleNotFoundError) return undefined;
        throw error;
      }
    });
  }

  /** Fires now, paused or not. */
  async trigger(orgId: string, id: string, overlap: Overlap): Promise<void> {
    await this.#call(orgId, id, () => this.#client.schedule.getHandle(scheduleIdOf(orgId, id)).trigger(OVERLAP[overlap]));
  }

  /** Fires for every time in a span that has passed. */
  async backfill(orgId: string, id: string, span: { readonly from: Date; readonly to: Date; readonly overlap: Overlap }): Promise<void> {
    const backfill: Backfill = { start: span.from, end: span.to, overlap: OVERLAP[span.overlap] };
    await this.#call(orgId, id, () => this.#client.schedule.getHandle(scheduleIdOf(orgId, id)).backfill(backfill));
  }

  /** Every schedule of HAL9's that Temporal has. Lags changes by a moment. */
  async *list(): AsyncIterable<{ readonly orgId: string; readonly id: string; readonly paused: boolean }> {
    for await (const { scheduleId, state } of this.#client.schedule.list({ pageSize: 500 })) {
      const [, orgId, id] = SCHEDULE_ID.exec(scheduleId) ?? [];
      if (orgId !== undefined && id !== undefined) yield { orgId, id, paused: state.paused };
    }
  }

  /** What Temporal keeps of the row; undefined when the schedule is gone or what it keeps cannot be read. */
  async kept(orgId: string, id: string): Promise<KeptSchedule | undefined> {
    return this.#call(orgId, id, async () => {
      try {
        const { action } = await this.#client.schedule.getHandle(scheduleIdOf(orgId, id)).describe();
        const input = scheduledRunInputSchema.safeParse(action.args?.[0]);
        const kept = keptSchema.safeParse(input.data?.kept);
        return kept.success ? kept.data : undefined;
      } catch (error) {
        if (error instanceof ScheduleNotFoundError) return undefined;
        throw error;
      }
    });
  }

  async #call<T>(orgId: string, id: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#client.withDeadline(Date.now() + RPC_MS, work);
    } catch (error) {
      const grpc = error instanceof Error && isGrpcServiceError(error.cause) ? error.cause : error;
      if (isGrpcServiceError(grpc) && Number(grpc.code) === INVALID) throw new ScheduleRefused(grpc.details, { cause: error });
      throw fromTemporal(grpc, 'start', scheduleIdOf(orgId, id));
    }
  }
}

const ORG_ID = defineSearchAttributeKey(SEARCH_ATTRIBUTES.orgId, 'KEYWORD');
const OPERATION = defineSearchAttributeKey(SEARCH_ATTRIBUTES.operation, 'KEYWORD');
const ORIGIN = defineSearchAttributeKey(SEARCH_ATTRIBUTES.origin, 'KEYWORD');

const OVERLAP = {
  skip: 'SKIP',
  'buffer-one': 'BUFFER_ONE',
  'buffer-all': 'BUFFER_ALL',
  'cancel-other': 'CANCEL_OTHER',
  'terminate-other': 'TERMINATE_OTHER',
  'allow-all': 'ALLOW_ALL',
} as const satisfies Record<Overlap, string>;

function scheduleIdOf(orgId: string, id: string): string {
  return `${orgId}/schedule/${id}`;
}

function attributesOf(orgId: string): SearchAttributePair[] {
  return [
    { key: ORG_ID, value: orgId },
    { key: OPERATION, value: scheduledRun.name },
    { key: ORIGIN, value: 'schedule' },
  ];
}

function actionOf({ orgId, id, version, draft, owner, pausedBy, note }: StoredSchedule): ScheduleOptionsStartWorkflowAction<Workflow> {
  const kept: KeptSchedule = { version, draft, owner: { ...owner, scopes: [...owner.scopes] }, pausedBy, note };
  return {
    type: 'startWorkflow',
    workflowType: workflowName(scheduledRun.name),
    // Temporal appends the time of the firing.
    workflowId: `${orgId}/${scheduledRun.name}/${id}`,
    taskQueue: scheduledRun.taskQueue,
    args: [{ scheduleId: id, kept }],
    workflowExecutionTimeout: scheduledRun.timeouts.execution,
    typedSearchAttributes: attributesOf(orgId),
  };
}

function specOf(draft: ScheduleDraft): ScheduleSpec {
  return {
    cronExpressions: draft.cron,
    intervals: draft.intervals.map(({ everySeconds, offsetSeconds }) => ({ every: everySeconds * 1000, offset: offsetSeconds * 1000 })),
    calendars: draft.calendars.map(calendarOf),
    skip: draft.skip.map(calendarOf),
    timezone: draft.timeZone,
    jitter: draft.jitterSeconds * 1000,
    ...(draft.startAt === undefined ? {} : { startAt: new Date(draft.startAt) }),
    ...(draft.endAt === undefined ? {} : { endAt: new Date(draft.endAt) }),
  };
}

const MONTHS = ['JANUARY', 'FEBRUARY', 'MARCH', 'APRIL', 'MAY', 'JUNE', 'JULY', 'AUGUST', 'SEPTEMBER', 'OCTOBER', 'NOVEMBER', 'DECEMBER'] as const;
const DAYS = ['SUNDAY', 'MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY'] as const;

type Ranges = NonNullable<Calendar['hour']>;

function calendarOf({ second, minute, hour, dayOfMonth, month, year, dayOfWeek }: Calendar): NonNullable<ScheduleSpec['calendars']>[number] {
  return {
    ...(second === undefined ? {} : { second: rangesOf(second, asIs) }),
    ...(minute === undefined ? {} : { minute: rangesOf(minute, asIs) }),
    ...(hour === undefined ? {} : { hour: rangesOf(hour, asIs) }),
    ...(dayOfMonth === undefined ? {} : { dayOfMonth: rangesOf(dayOfMonth, asIs) }),
    ...(month === undefined ? {} : { month: rangesOf(month, (value) => MONTHS[value - 1] ?? 'JANUARY') }),
    ...(year === undefined ? {} : { year: rangesOf(year, asIs) }),
    ...(dayOfWeek === undefined ? {} : { dayOfWeek: rangesOf(dayOfWeek, (value) => DAYS[value] ?? 'SUNDAY') }),
  };
}

function asIs(value: number): number {
  return value;
}

function rangesOf<Unit>(ranges: Ranges, unit: (value: number) => Unit): { start: Unit; end: Unit; step: number }[] {
  return ranges.map((range) => (typeof range === 'number' ? { start: unit(range), end: unit(range), step: 1 } : { start: unit(range.start), end: unit(range.end), step: range.step ?? 1 }));
}
