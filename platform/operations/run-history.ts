import type { Client } from '@temporalio/client';
import type { Payload } from '@temporalio/common';
import { decodeArrayFromPayloads, decodeOptionalFailureToOptionalError, loadDataConverter } from '@temporalio/common/lib/internal-non-workflow/index.js';
import proto from '@temporalio/proto';
import type { temporal } from '@temporalio/proto';
import { HalError } from '../../schemas/errors.ts';
import type { RunStep } from './contract.ts';
import { recordingOf, type RunRecording } from './run-recording.ts';
import { rootFailure } from './run-failure.ts';
import { fromTemporal } from './temporal-failures.ts';

type Event = temporal.api.history.v1.IHistoryEvent;
type Payloads = temporal.api.common.v1.IPayloads;
type Failure = temporal.api.failure.v1.IFailure;

const RPC_MS = 10_000;
/** Events that are read of one run; Temporal ends a run at 51,200. */
const MOST_EVENTS = 51_200;

/** A step while it is put together. */
type Draft = { -readonly [Key in keyof RunStep]: RunStep[Key] } & { input?: Payloads | null | undefined; output?: Payloads | null | undefined; cause?: Failure | null | undefined };

export interface Timeline {
  readonly steps: readonly RunStep[];
  /** Events it was folded from. */
  readonly events: number;
}

/** Reads what Temporal recorded of a run and folds it into steps that people can read. */
export class RunHistory {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * @param payloads whether inputs and results are decoded and shown.
   * @throws {HalError} NotFound once Temporal's retention has passed, DependencyUnavailable.
   */
  async timeline(runId: string, workflowId: string, payloads: boolean): Promise<Timeline> {
    const events = await this.#events(runId, workflowId, MOST_EVENTS);
    const converter = loadDataConverter(this.#client.options.dataConverter);
    const context = { type: 'workflow', namespace: this.#client.options.namespace, workflowId } as const;
    const decode = async (field: Payloads | null | undefined): Promise<unknown> => {
      const values = await decodeArrayFromPayloads(converter, field?.payloads as Payload[] | null | undefined, context);
      return values.length === 1 ? values[0] : values;
    };
    const steps: RunStep[] = [];
    for (const { input, output, cause, ...step } of fold(events)) {
      const error = await decodeOptionalFailureToOptionalError(converter, cause, context);
      const failure = error === undefined ? step.failure : rootFailure(error);
      steps.push({
        ...step,
        failure,
        ...(payloads && input ? { input: await decode(input) } : {}),
        ...(payloads && output ? { result: await decode(output) } : {}),
      });
    }
    return { steps, events: events.length };
  }

  /** All of it, decrypted, for replay tests. */
  async recording(runId: string, workflowId: string): Promise<RunRecording> {
    const events = await this.#events(runId, workflowId, MOST_EVENTS);
    return recordingOf(workflowId, { events }, loadDataConverter(this.#client.options.dataConverter).payloadCodecs);
  }

  /** What the run was started with. */
  async input(runId: string, workflowId: string): Promise<unknown> {
    const [first] = await this.#events(runId, workflowId, 1);
    const converter = loadDataConverter(this.#client.options.dataConverter);
    const context = { type: 'workflow', namespace: this.#client.options.namespace, workflowId } as const;
    const [input] = await decodeArrayFromPayloads(converter, first?.workflowExecutionStartedEventAttributes?.input?.payloads as Payload[] | null | undefined, context);
    return input;
  }

  async #events(runId: string, workflowId: string, most: number): Promise<Event[]> {
    const events: Event[] = [];
    let nextPageToken: Uint8Array | undefined;
    try {
      do {
        const page: temporal.api.workflowservice.v1.IGetWorkflowExecutionHistoryResponse = await this.#client.withDeadline(Date.now() + RPC_MS, () =>
          this.#client.workflowService.getWorkflowExecutionHistory({ namespace: this.#client.options.namespace, execution: { workflowId }, maximumPageSize: Math.min(most, 1000), ...(nextPageToken === undefined ? {} : { nextPageToken }) }),
        );
        events.push(...(page.history?.events ?? []));
        nextPageToken = page.nextPageToken && page.nextPageToken.length > 0 ? page.nextPageToken : undefined;
      } while (nextPageToken !== undefined && events.length < most);
    } catch (error) {
      throw fromTemporal(error, 'read', runId);
    }
    if (events.length === 0) throw new HalError('NotFound', `the history of ${runId} is past Temporal's retention`);
    return events;
  }
}

/** One step for each thing that was begun; what ended it is found by the event that began it. */
function fold(events: readonly Event[]): Draft[] {
  const steps: Draft[] = [];
  const begun = new Map<number, Draft>();
  let taskCompleted = 0;
  const begin = (event: Event, kind: RunStep['kind'], name: string, more: Partial<Draft> = {}): Draft => {
    const step: Draft = { eventId: numberOf(event.eventId), resetTo: null, kind, name, startedAt: timeOf(event), endedAt: null, attempts: 1, state: 'open', failure: null, ...more };
    steps.push(step);
    begun.set(step.eventId, step);
    return step;
  };
  const end = (event: Event, from: LongLike, state: RunStep['state'], more: Partial<Draft> = {}): void => {
    const step = begun.get(numberOf(from));
    if (step !== undefined) Object.assign(step, { state, endedAt: timeOf(event), ...more });
  };
  const moment = (event: Event, kind: RunStep['kind'], name: string, state: RunStep['state'] = 'completed', more: Partial<Draft> = {}): void => void begin(event, kind, name, { endedAt: timeOf(event), state, ...more });
  for (const event of events) visit(event);
  return steps;

  function visit(event: Event): void {
    const e = event;
    if (e.workflowExecutionStartedEventAttributes) begin(e, 'run', e.workflowExecutionStartedEventAttributes.workflowType?.name ?? 'run', { input: e.workflowExecutionStartedEventAttributes.input });
    else if (e.workflowTaskCompletedEventAttributes) taskCompleted = numberOf(e.eventId);
    else if (e.activityTaskScheduledEventAttributes) begin(e, 'activity', e.activityTaskScheduledEventAttributes.activityType?.name ?? 'activity', { resetTo: taskCompleted, input: e.activityTaskScheduledEventAttributes.input });
    else if (e.activityTaskStartedEventAttributes) {
      const step = begun.get(numberOf(e.activityTaskStartedEventAttributes.scheduledEventId));
      if (step !== undefined) Object.assign(step, { attempts: e.activityTaskStartedEventAttributes.attempt ?? 1, state: 'running' });
    } else if (e.activityTaskCompletedEventAttributes) end(e, e.activityTaskCompletedEventAttributes.scheduledEventId, 'completed', { output: e.activityTaskCompletedEventAttributes.result });
    else if (e.activityTaskFailedEventAttributes) end(e, e.activityTaskFailedEventAttributes.scheduledEventId, 'failed', { cause: e.activityTaskFailedEventAttributes.failure });
    else if (e.activityTaskTimedOutEventAttributes) end(e, e.activityTaskTimedOutEventAttributes.scheduledEventId, 'timed-out', { cause: e.activityTaskTimedOutEventAttributes.failure });
    else if (e.activityTaskCanceledEventAttributes) end(e, e.activityTaskCanceledEventAttributes.scheduledEventId, 'cancelled');
    else if (e.markerRecordedEventAttributes) visitMarker(e);
    else if (e.timerStartedEventAttributes) begin(e, 'timer', 'wait', { resetTo: taskCompleted });
    else if (e.timerFiredEventAttributes) end(e, e.timerFiredEventAttributes.startedEventId, 'completed');
    else if (e.timerCanceledEventAttributes) end(e, e.timerCanceledEventAttributes.startedEventId, 'cancelled');
    else if (e.startChildWorkflowExecutionInitiatedEventAttributes) begin(e, 'child', e.startChildWorkflowExecutionInitiatedEventAttributes.workflowType?.name ?? 'run', { resetTo: taskCompleted, input: e.startChildWorkflowExecutionInitiatedEventAttributes.input });
    else if (e.childWorkflowExecutionCompletedEventAttributes) end(e, e.childWorkflowExecutionCompletedEventAttributes.initiatedEventId, 'completed', { output: e.childWorkflowExecutionCompletedEventAttributes.result });
    else if (e.childWorkflowExecutionFailedEventAttributes) end(e, e.childWorkflowExecutionFailedEventAttributes.initiatedEventId, 'failed', { cause: e.childWorkflowExecutionFailedEventAttributes.failure });
    else if (e.childWorkflowExecutionCanceledEventAttributes) end(e, e.childWorkflowExecutionCanceledEventAttributes.initiatedEventId, 'cancelled');
    else if (e.childWorkflowExecutionTimedOutEventAttributes) end(e, e.childWorkflowExecutionTimedOutEventAttributes.initiatedEventId, 'timed-out');
    else if (e.childWorkflowExecutionTerminatedEventAttributes) end(e, e.childWorkflowExecutionTerminatedEventAttributes.initiatedEventId, 'terminated');
    else if (e.workflowExecutionSignaledEventAttributes) moment(e, 'signal', e.workflowExecutionSignaledEventAttributes.signalName ?? 'signal', 'completed', { input: e.workflowExecutionSignaledEventAttributes.input });
    else if (e.workflowExecutionUpdateAcceptedEventAttributes) begin(e, 'update', e.workflowExecutionUpdateAcceptedEventAttributes.acceptedRequest?.input?.name ?? 'update', { input: e.workflowExecutionUpdateAcceptedEventAttributes.acceptedRequest?.input?.args });
    else if (e.workflowExecutionUpdateCompletedEventAttributes) {
      const { acceptedEventId, outcome } = e.workflowExecutionUpdateCompletedEventAttributes;
      end(e, acceptedEventId, outcome?.failure ? 'failed' : 'completed', { cause: outcome?.failure, output: outcome?.success });
    } else if (e.workflowExecutionCancelRequestedEventAttributes) moment(e, 'cancellation', 'cancellation asked for');
    else visitEnd(e);
  }

  function visitMarker(event: Event): void {
    const marker = event.markerRecordedEventAttributes;
    if (marker?.markerName !== 'core_local_activity') return;
    moment(event, 'local-activity', localActivityName(marker), marker.failure ? 'failed' : 'completed', { resetTo: taskCompleted, cause: marker.failure, output: marker.details?.['result'] });
  }

  function visitEnd(event: Event): void {
    const run = steps[0]?.eventId;
    if (event.workflowExecutionCompletedEventAttributes) end(event, run, 'completed', { output: event.workflowExecutionCompletedEventAttributes.result });
    else if (event.workflowExecutionFailedEventAttributes) end(event, run, 'failed', { cause: event.workflowExecutionFailedEventAttributes.failure });
    else if (event.workflowExecutionTimedOutEventAttributes) end(event, run, 'timed-out', { failure: { type: 'Timeout', message: 'the run took longer than its operation allows' } });
    else if (event.workflowExecutionCanceledEventAttributes) end(event, run, 'cancelled');
    else if (event.workflowExecutionTerminatedEventAttributes) end(event, run, 'terminated', { failure: { type: 'Terminated', message: event.workflowExecutionTerminatedEventAttributes.reason ?? '' } });
    else if (event.workflowExecutionContinuedAsNewEventAttributes) end(event, run, 'completed');
  }
}

/** The SDK's core writes what a local activity was as JSON into its marker. */
function localActivityName(marker: temporal.api.history.v1.IMarkerRecordedEventAttributes): string {
  const data = marker.details?.['data']?.payloads?.[0]?.data;
  if (!data) return 'local activity';
  try {
    const parsed: unknown = JSON.parse(Buffer.from(data).toString('utf8'));
    const type = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'activity_type') : undefined;
    return typeof type === 'string' ? type : 'local activity';
  } catch {
    // A later core may write it otherwise; the step is shown all the same.
    return 'local activity';
  }
}

type LongLike = { toNumber(): number } | number | null | undefined;

function numberOf(value: LongLike): number {
  return typeof value === 'number' ? value : (value?.toNumber() ?? 0);
}

function timeOf(event: Event): Date {
  return new Date(numberOf(event.eventTime?.seconds) * 1000 + Math.floor((event.eventTime?.nanos ?? 0) / 1e6));
}

/** What a reset leaves out when it repeats messages: people who approved or cancelled the first time are asked again. */
export const NOT_REAPPLIED = [proto.temporal.api.enums.v1.ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE, proto.temporal.api.enums.v1.ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST];
