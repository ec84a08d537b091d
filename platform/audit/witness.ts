import type { Checkpoint, VerifierKey } from '../../schemas/audit/note.ts';

/** What a witness is shown: a signed checkpoint, and the proof that it continues the last one the witness saw. */
export interface Submission {
  /** Signed note of the log. */
  readonly note: string;
  /** Checks the log's signature. */
  readonly log: VerifierKey;
  /** Consistency proof (RFC 9162 section 2.1.4) from the witness's last checkpoint; empty for the first. */
  readonly proof: readonly Uint8Array[];
}

/**
 * Remembers checkpoints outside PostgreSQL, so that whoever rules the database cannot rewrite the log unseen. Modelled on
 * https://c2sp.org/tlog-witness: one port for an append-only file, an object store with a lock, a chain.
 */
export interface Witness {
  /** Checks its cosignatures. */
  readonly key: VerifierKey;
  /** The last checkpoint of the log it saw. */
  latest(origin: string): Promise<Checkpoint | undefined>;
  /**
   * Remembers the checkpoint and adds a cosignature; a checkpoint it has already is answered as it was.
   * @returns the note with both signatures, durable.
   * @throws {WitnessRefusal} for a checkpoint that does not continue the last one.
   */
  add(submission: Submission): Promise<string>;
}

/** The checkpoint contradicts what the witness saw before: the log was cut, forked or rewritten. */
export class WitnessRefusal extends Error {
  override readonly name = 'WitnessRefusal';
}
