import type { Client } from '@temporalio/client';
import { decodeOptionalFailureToOptionalError, loadDataConverter } from '@temporalio/common/lib/internal-non-workflow/index.js';
import proto from '@temporalio/proto';
import type { temporal } from '@temporalio/proto';
import type { PendingActivity } from './contract.ts';
import { rootFailure } from './run-failure.ts';

type Info = temporal.api.workflow.v1.IPendingActivityInfo;

/** What a run waits for, from Temporal's description of it. */
export async function pendingActivities(infos: readonly Info[], workflowId: string, client: Client): Promise<PendingActivity[]> {
  const converter = loadDataConverter(client.options.dataConverter);
  const context = { type: 'workflow', namespace: client.options.namespace, workflowId } as const;
  return Promise.all(
    infos.map(async (info) => {
      const name = info.activityType?.name ?? 'activity';
      const attempt = info.attempt ?? 1;
      const state = stateOf(info);
      const failure = await decodeOptionalFailureToOptionalError(converter, info.lastFailure, context);
      const lastFailure = failure === undefined ? null : rootFailure(failure);
      const nextAttemptAt = state === 'retrying' ? timeOf(info.nextAttemptScheduleTime ?? info.scheduledTime) : null;
      return { name, state, attempt, nextAttemptAt, lastFailure, explanation: explain(name, state, attempt, nextAttemptAt, lastFailure) };
    }),
  );
}

function stateOf(info: Info): PendingActivity['state'] {
  const { PendingActivityState: state } = proto.temporal.api.enums.v1;
  switch (info.state) {
    case state.PENDING_ACTIVITY_STATE_STARTED:
      return 'running';
    case state.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED:
      return 'cancelling';
    case state.PENDING_ACTIVITY_STATE_PAUSED:
    case state.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED:
      return 'paused';
    default:
      return (info.attempt ?? 1) > 1 ? 'retrying' : 'scheduled';
  }
}

function explain(name: string, state: PendingActivity['state'], attempt: number, next: Date | null, last: PendingActivity['lastFailure']): string {
  const because = last === null ? '' : `; the last attempt failed with ${last.type}: ${last.message}`;
  switch (state) {
    case 'scheduled':
      return `"${name}" waits for a worker`;
    case 'running':
      return `"${name}" is running, attempt ${attempt}${because}`;
    case 'retrying':
      return `"${name}" will be tried again${next === null ? '' : ` at ${next.toISOString()}`} as attempt ${attempt}${because}`;
    case 'cancelling':
      return `"${name}" was asked to stop${because}`;
    case 'paused':
      return `"${name}" is paused at attempt ${attempt}${because}`;
  }
}

function timeOf(time: { seconds?: { toNumber(): number } | null; nanos?: number | null } | null | undefined): Date | null {
  if (!time?.seconds) return null;
  return new Date(time.seconds.toNumber() * 1000 + Math.floor((time.nanos ?? 0) / 1e6));
}
