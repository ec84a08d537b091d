import { cancellationSignal, heartbeat } from '@temporalio/activity';

/** Shorter than every heartbeat timeout of HAL9's workflows. The SDK sends no more of them than the timeout asks for. */
const BEAT_MS = 1_000;

/**
 * Heartbeats for as long as the work takes: the server learns soon when this worker is gone, and the work when its run was cancelled.
 * @param work gets the cancellation signal of the activity.
 */
export async function beating<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const beat = setInterval(() => heartbeat(), BEAT_MS);
  try {
    return await work(cancellationSignal());
  } finally {
    clearInterval(beat);
  }
}
