import { z } from 'zod';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { defineOperation } from './operation.ts';

export const drillInputSchema = z.strictObject({
  at: z.iso.datetime().optional().describe('Moment to go back to, RFC 3339 in UTC. Default: the last there is.'),
  backup: z.string().regex(/^\d{8}T\d{6}Z$/).optional().describe('Name of the base backup to begin with. Default: the newest before `at`.'),
  toleranceSeconds: z.int().min(0).max(86_400).default(60).describe('Rows that the live database has from before the last restored commit, less so much, must have been restored. Covers transactions that were open then.'),
});
export type DrillInput = z.input<typeof drillInputSchema>;

/** What a restored database is held to. */
export const DRILL_CHECKS = ['schema', 'tenancy', 'organisations', 'moment', 'audit', 'erasures', 'history', 'rows'] as const;

const drillCheckSchema = z.object({ name: z.enum(DRILL_CHECKS), passed: z.boolean(), detail: z.string() });
export type DrillCheck = z.infer<typeof drillCheckSchema>;

export const drillResultSchema = z.object({
  /** Whether every check passed. */
  passed: z.boolean(),
  /** The base backup that was restored: its name, when it was begun, its files and their bytes, all of which had the checksums of its manifest. */
  backup: z.object({ name: z.string(), takenAt: z.iso.datetime(), files: z.int(), bytes: z.int() }),
  /** Time of the last commit that was restored; null when no WAL was replayed. */
  restoredThrough: z.iso.datetime().nullable(),
  /** From that commit to the moment it was to be restored to, or to the drill: what a disaster would have lost at the most. Of a database that was idle it is the time since its last commit. */
  rpoSeconds: z.int().nullable(),
  /** From the beginning of the restore until the database was fit to be served: laid out, recovered, brought to this version, erasures repeated, checked. */
  rtoSeconds: z.int(),
  /** Time of the last act in the restored audit logs; null when there is none. */
  lastAct: z.iso.datetime().nullable(),
  organisations: z.int(),
  /** In the ledgers of those erased, and keys of theirs that the backup had brought back. */
  erasures: z.object({ replayed: z.int(), keysDestroyed: z.int() }),
  checks: z.array(drillCheckSchema),
  /** Restores that were begun; more than one when a machine died. */
  attempts: z.int(),
});
export type DrillResult = z.infer<typeof drillResultSchema>;

export default defineOperation({
  name: 'drill',
  summary: 'Restore a backup into a scratch database, and check it',
  description:
    'Takes a base backup and the WAL since, holds them to their checksums, restores them into a PostgreSQL of its own that nobody else reaches, brings it to the schema of this version, repeats the erasures of the ledger there, compares it with the live database, and removes it. The result says what a disaster would have lost (RPO) and how long a restore takes (RTO). A drill whose checks fail completes with `passed: false`; one that cannot be made fails with NoBackup, BackupDamaged or ScratchFull. It restores the data of every organisation, so it obeys the runs of one only (HAL9_RECOVERY_ORG). A recovery worker does it: `npm run worker -- recovery`.',
  input: drillInputSchema,
  result: drillResultSchema,
  taskQueue: TASK_QUEUES.core,
  permission: 'recovery:write',
  concurrency: { key: () => 'drill', limit: 1, onConflict: 'queue' },
  timeouts: { execution: '2 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
});
