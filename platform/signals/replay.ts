import type { DeadLetterStore } from '../../database/dead-letters.ts';
import type { SignalStore } from '../../database/signals.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { uuidText } from './key.ts';

export interface ReplayOptions {
  readonly letters: DeadLetterStore;
  readonly signals: SignalStore;
}

/**
 * Sends the signals behind a dead letter in again, as new chunks past the deduplication. Each letter can be replayed once: a signal
 * that fails again leaves a new letter.
 * @returns ids of the signals.
 * @throws {HalError} NotFound, Conflict.
 */
export async function replayDeadLetter({ letters, signals }: ReplayOptions, caller: Caller, id: string): Promise<string[]> {
  const letter = await letters.find(caller.orgId, id);
  if (letter === undefined) throw new HalError('NotFound', 'there is no such dead letter');
  if (letter.replayedAt !== null) throw new HalError('Conflict', 'this dead letter was replayed already');
  const rows = await letters.signalsOf(caller.orgId, letter);
  if (rows.length === 0) throw new HalError('Conflict', 'its signals have left the dedup window and cannot be replayed; send them again');
  if (!(await letters.claimReplay(caller.orgId, id, actOf(caller, 'dead-letter.replay', { kind: 'dead-letter', id }, { signals: rows.length })))) throw new HalError('Conflict', 'this dead letter was replayed already');
  try {
    await signals.commit({ orgId: caller.orgId, rows, traceparent: caller.traceparent, duplicates: 'refresh' });
  } catch (error) {
    await letters.releaseReplay(caller.orgId, id, actOf(caller, 'dead-letter.replay', { kind: 'dead-letter', id }, {}, 'failed'));
    throw error;
  }
  return rows.map((row) => uuidText(row.key));
}
