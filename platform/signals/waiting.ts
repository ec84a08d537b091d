import { v7 } from 'uuid';
import type { SignalRow, SignalStore } from '../../database/signals.ts';
import type { Caller } from '../identity/caller.ts';
import { uuidText } from './key.ts';

/** A committed signal whose sender waits for the decision. */
export interface WaitingSignal {
  /** HAL9's id of the signal, a UUID. */
  readonly key: string;
  /** The open batch of this one signal; also the uuid of its cascade. */
  readonly batchId: string;
  readonly chunkId: number;
}

/**
 * Starts the cascade of a waiting signal and answers with its decision.
 * @throws {HalError} Timeout when it takes longer; the cascade goes on.
 */
export type Decide = (caller: Caller, waiting: WaitingSignal, options: { timeoutMs: number; signal: AbortSignal }) => Promise<unknown>;

/**
 * Commits a signal with a batch of its own. Should this process die before the cascade has begun, the dispatcher begins it.
 * @returns undefined when the signal was there before.
 */
export async function commitWaiting(store: SignalStore, caller: Caller, row: SignalRow): Promise<WaitingSignal | undefined> {
  const batchId = v7();
  const chunk = await store.commitWaiting({ orgId: caller.orgId, row, traceparent: caller.traceparent, batchId });
  return chunk === undefined ? undefined : { key: uuidText(row.key), batchId, chunkId: chunk.id };
}
