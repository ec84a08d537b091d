import { ActivityFailure, ApplicationFailure, isCancellation } from '@temporalio/workflow';
import { ROLLOUT_PROBLEM, type RolloutCause } from '../../schemas/names/rollouts.ts';
import type { Problem } from '../../activities/kubernetes/activity-contract.ts';

/** The rollout itself found a reason to go back. */
export class Stop extends Error {
  override readonly name = 'Stop';
  readonly code: RolloutCause;

  constructor(code: RolloutCause, message: string) {
    super(message);
    this.code = code;
  }
}

/** Why a step ended, of whatever it threw. */
export function problemOf(error: unknown, aborted: string | undefined): Problem {
  if (error instanceof Stop) return { code: error.code, message: error.message };
  if (isCancellation(error)) return { code: 'aborted', message: aborted ?? 'the run was cancelled' };
  const cause = error instanceof ActivityFailure ? error.cause : error;
  const [detail] = cause instanceof ApplicationFailure && cause.type === ROLLOUT_PROBLEM ? (cause.details ?? []) : [];
  if (isProblem(detail)) return detail;
  // What is tried again until it works fails only where it is tried a few times: at the first look at a cluster.
  return { code: 'unreachable', message: cause instanceof Error ? cause.message : String(cause) };
}

function isProblem(detail: unknown): detail is Problem {
  return typeof detail === 'object' && detail !== null && 'code' in detail && 'message' in detail;
}
