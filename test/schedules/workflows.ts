import { ApplicationFailure, sleep } from '@temporalio/workflow';

export { scheduledRun } from '../../workflows/scheduled-run/index.ts';

/** Takes as long as it is told, and fails if it is told. */
export async function nap({ ms, fails }: { ms: number; fails: boolean }): Promise<Record<string, never>> {
  await sleep(ms);
  if (fails) throw ApplicationFailure.nonRetryable('as it was told', 'Told');
  return {};
}
