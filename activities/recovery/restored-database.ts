import pg from 'pg';
import { replayErasures } from '../privacy/replay.ts';
import { AuditLogStore } from '../../database/audit-log.ts';
import type { Database } from '../../database/database.ts';
import type { CompletedErasure } from '../../database/erasure-replays.ts';
import { migrate } from '../../database/migrate.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { checkLog } from '../../platform/audit/self-check.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { DrillCheck } from '../../schemas/operations/drill.ts';

export interface RestoredDatabase {
  readonly url: string;
  readonly database: Database;
  readonly keys: KeyRing;
  /** The moment it was to be restored to; undefined for the last there is. */
  readonly restoredTo: Date | undefined;
  readonly signal: AbortSignal;
}

export interface DrillReport {
  readonly passed: boolean;
  /** Time of the last act that was restored, RFC 3339; null when there is none. */
  readonly lastAct: string | null;
  /** Time of the last commit that was restored, RFC 3339; null when no WAL was replayed. */
  readonly restoredThrough: string | null;
  /** From that commit to the moment it was to be restored to, or to now: what a disaster would have lost at the most. Of a database that was idle it is the time since its last commit. */
  readonly rpoSeconds: number | null;
  readonly organisations: number;
  /** In the ledger of those erased, and keys of theirs that the backup had brought back. */
  readonly erasures: { readonly replayed: number; readonly keysDestroyed: number };
  readonly checks: readonly DrillCheck[];
}

/**
 * Waits until the server has replayed its WAL and serves.
 * @param pause between two looks; rejects when the time is up.
 */
export async function awaitRecovered(url: string, signal: AbortSignal, pause: () => Promise<void>): Promise<void> {
  let reason = '';
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000, application_name: 'hal9-drill' });
    // Recovery ends with new processes: a session may be cut off by that.
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ recovering: boolean }>('select pg_is_in_recovery() as recovering');
      if (rows[0]?.recovering === false) return;
      reason = 'WAL is still replayed';
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    } finally {
      await client.end().catch(() => undefined);
    }
    if (signal.aborted) throw new Error(`the restored server does not serve: ${reason}`);
    await pause().catch(() => undefined);
  }
}

/**
 * Whether a restored database is whole and fit to be served. Writes to it: brings it to the schema of this version, as a real restore would, and
 * destroys the keys of erased people again. The systems people's data was also erased from are not touched.
 */
export async function checkRestored({ url, database, keys, restoredTo, signal }: RestoredDatabase): Promise<DrillReport> {
  const through = await restoredThrough(url);
  const schema = await bringUpToDate(url);
  const own = await examine({ url, database, restoredTo, signal });
  const erasures = await eraseAgain({ database, keys, signal });
  const checks = [schema, ...own.checks, erasures.check];
  return {
    passed: checks.every(({ passed }) => passed),
    lastAct: own.lastAct?.toISOString() ?? null,
    restoredThrough: through?.toISOString() ?? null,
    rpoSeconds: rpoOf(through, restoredTo),
    organisations: own.organisations,
    erasures: { replayed: erasures.replayed, keysDestroyed: erasures.keysDestroyed },
    checks,
  };
}

/** Seconds from the last commit that was restored to the moment it was to be restored to, or to now. */
export function rpoOf(through: Date | null, restoredTo: Date | undefined): number | null {
  return through === null ? null : Math.round(Math.max(0, (restoredTo ?? new Date()).getTime() - through.getTime()) / 1000);
}

/** Brings the schema to this version, as a real restore would. */
export async function bringUpToDate(url: string): Promise<DrillCheck> {
  const applied = await migrate(url);
  return { name: 'schema', passed: true, detail: applied.length === 0 ? 'the schema is of this version' : `${applied.length} migrations brought it to this version` };
}

/** What the database can say of itself. Reads only. */
export async function examine({ url, database, restoredTo, signal }: Omit<RestoredDatabase, 'keys'>): Promise<{ readonly checks: readonly DrillCheck[]; readonly organisations: number; readonly lastAct: Date | null }> {
  const organisations = await new OrganisationStore(database).listAll();
  const log = new AuditLogStore(database);
  const lastAct = await latestAct(log, organisations.map(({ orgId }) => orgId));
  const beyond = restoredTo !== undefined && lastAct !== null && lastAct > restoredTo;
  const findings: string[] = [];
  for (const { orgId } of organisations) {
    // What a witness saw after that moment is rightly missing, so the log is held to itself alone.
    const own = await checkLog({ log, witness: { latest: async () => undefined } }, orgId, signal);
    findings.push(...own.map(({ kind, detail }) => `${orgId}: ${kind}: ${detail}`));
  }
  return {
    organisations: organisations.length,
    lastAct,
    checks: [
      await tenancy(url),
      { name: 'organisations', passed: organisations.length > 0, detail: `${organisations.length} organisations` },
      { name: 'moment', passed: !beyond, detail: beyond ? `the last act is of ${lastAct.toISOString()}, after the moment it was to be restored to` : `the last act is of ${lastAct?.toISOString() ?? 'never'}` },
      { name: 'audit', passed: findings.length === 0, detail: findings.length === 0 ? `the logs of ${organisations.length} organisations are whole` : findings.join('; ') },
    ],
  };
}

/** Time of the last commit that recovery replayed; the server remembers it until it is restarted. */
export async function restoredThrough(url: string): Promise<Date | null> {
  return asOwner(url, async (client) => (await client.query<{ at: Date | null }>('select pg_last_xact_replay_timestamp() as at')).rows[0]?.at ?? null);
}

/** Row-level security is what keeps organisations apart; a dump restored by hand easily loses it. */
async function tenancy(url: string): Promise<DrillCheck> {
  const open = await asOwner(url, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'organisations' and not (c.relrowsecurity and c.relforcerowsecurity) order by 1`,
    );
    return rows.map(({ name }) => name);
  });
  return { name: 'tenancy', passed: open.length === 0, detail: open.length === 0 ? 'row-level security is forced on every table of organisations' : `without forced row-level security: ${open.join(', ')}` };
}

async function latestAct(log: AuditLogStore, organisations: readonly string[]): Promise<Date | null> {
  const latest = await Promise.all(organisations.map(async (orgId) => (await log.list(orgId, {}, 1))[0]?.entry.at));
  return latest.reduce<Date | null>((last, at) => (at !== undefined && (last === null || new Date(at) > last) ? new Date(at) : last), null);
}

export interface ErasedAgain {
  readonly check: DrillCheck;
  readonly replayed: number;
  readonly keysDestroyed: number;
}

/**
 * Keys that a backup brought back are destroyed again, until none of a person of the ledger is left; what other systems hold is for
 * `hal9 privacy replay-erasures` after a real restore.
 * @param alsoErased of an organisation, what a younger ledger than the restored one knows. Default nothing.
 */
export async function eraseAgain({ database, keys, signal, alsoErased }: Pick<RestoredDatabase, 'database' | 'keys' | 'signal'> & { readonly alsoErased?: (orgId: string) => Promise<readonly CompletedErasure[]> }): Promise<ErasedAgain> {
  let [erasures, destroyed] = [0, 0];
  const reasons: string[] = [];
  const subjectKeys = new SubjectKeys({ database, keys });
  for (const { orgId } of await new OrganisationStore(database).listAll()) {
    const outcome = await replayErasures({ database, keys, subjectKeys, sourcesOf: async () => [], alsoErased: (await alsoErased?.(orgId)) ?? [], signal, progress: () => undefined }, orgId);
    erasures += outcome.erasures;
    destroyed += outcome.keysDestroyed;
    reasons.push(...outcome.reasons);
  }
  const detail = reasons.length === 0 ? `${erasures} erasures in the ledger, ${destroyed} keys destroyed again` : reasons.join('; ');
  return { check: { name: 'erasures', passed: reasons.length === 0, detail }, replayed: erasures, keysDestroyed: destroyed };
}

async function asOwner<Answer>(url: string, use: (client: pg.Client) => Promise<Answer>): Promise<Answer> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, application_name: 'hal9-drill' });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
