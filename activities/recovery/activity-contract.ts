import type { DrillCheck, DrillInput } from '../../schemas/operations/drill.ts';

/** What a restore begins with. */
export interface ChosenBackup {
  readonly name: string;
  /** When it was begun, RFC 3339. */
  readonly takenAt: string;
  readonly files: number;
  /** Of the base backup, without WAL. */
  readonly bytes: number;
}

/**
 * A drill, step by step. All but the first are done by the machine that was claimed, whose disk holds the scratch database; where there is none
 * of the run any more they fail with `ScratchLost`.
 */
export interface RecoveryActivities {
  /**
   * Waits for a machine that may restore. @returns the queue of that machine.
   * @throws {HalError} Forbidden for an organisation that may not drill; NoBackup when no folder is configured.
   */
  claimRecovery(): Promise<{ readonly queue: string }>;
  /** @throws {HalError} NoBackup, BackupDamaged when files or WAL are missing, ScratchFull. */
  chooseBackup(input: DrillInput): Promise<ChosenBackup>;
  /** Reads every byte. @throws {HalError} BackupDamaged naming the file. */
  verifyBackup(name: string): Promise<void>;
  /** Anew, whatever an earlier attempt left. */
  layOutBackup(input: { readonly name: string; readonly at: string | undefined }): Promise<void>;
  /** Replays WAL. @returns time of the last commit, RFC 3339. @throws {HalError} BackupDamaged; InvalidInput when the WAL does not reach `at`. */
  recoverDatabase(input: { readonly at: string | undefined }): Promise<{ readonly restoredThrough: string | null }>;
  /** Brings the schema to this version and repeats erasures: those of the restored ledger and those of the live one. */
  repeatErasures(): Promise<{ readonly checks: readonly DrillCheck[]; readonly replayed: number; readonly keysDestroyed: number }>;
  /** @param until rows from before this time, RFC 3339, must have been restored. */
  checkDatabase(input: { readonly at: string | undefined; readonly until: string }): Promise<{ readonly checks: readonly DrillCheck[]; readonly organisations: number; readonly lastAct: string | null }>;
  /** Removes everything. What is not there is fine. */
  releaseRecovery(): Promise<void>;
}
