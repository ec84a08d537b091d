import { sql } from 'kysely';
import type { AuditEntry } from '../schemas/audit/entry.ts';
import { entries, fromRow } from './audit-log.ts';
import type { Database, Tx } from './database.ts';

/** Entries looked at in one transaction. */
const ENTRIES_AT_ONCE = 2000;

/** Which entries a rule may have something to say about; most acts concern none and are not even read. */
export interface RiskInterest {
  readonly minRisk: number;
  /** Patterns of actions; `%` stands for any text. Refused acts are always read. */
  readonly actionsLike: readonly string[];
}

/** Acts of the same actor before an entry. */
export interface ActorHistory {
  readonly actorId: string;
  /** The entry's own number; it counts too. */
  readonly upTo: number;
  /** Acts at this time or later. */
  readonly since: Date;
  readonly result?: AuditEntry['result'];
  /** `%` stands for any text. */
  readonly actionLike?: string;
  /** Counting stops here. */
  readonly most: number;
}

/** Lets risk rules read the log as it grows, each entry once. */
export class AuditRiskStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Organisations with entries no rule has seen. */
  async dueOfAllOrganisations(limit: number): Promise<string[]> {
    const { rows } = await sql<{ org_id: string }>`
      select t.org_id from audit_trees t left join audit_rule_cursors c using (org_id) where t.size > coalesce(c.seq, 0) limit ${limit}`.execute(this.#database.system);
    return rows.map((row) => row.org_id);
  }

  /**
   * Hands the next entries over and remembers them as seen when `work` succeeds; otherwise they come again.
   * @returns whether more may wait; false also when another process is at it.
   */
  async readAcrossOrganisations(orgId: string, interest: RiskInterest, work: (batch: readonly AuditEntry[], count: (history: ActorHistory) => Promise<number>) => Promise<void>): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      await tx.insertInto('audit_rule_cursors').values({ org_id: orgId, seq: 0 }).onConflict((conflict) => conflict.doNothing()).execute();
      const cursor = await tx.selectFrom('audit_rule_cursors').select('seq').where('org_id', '=', orgId).forUpdate().skipLocked().executeTakeFirst();
      if (cursor === undefined) return false;
      const tree = await tx.selectFrom('audit_trees').select('size').where('org_id', '=', orgId).executeTakeFirst();
      const end = Math.min(tree?.size ?? 0, cursor.seq + ENTRIES_AT_ONCE);
      if (end <= cursor.seq) return false;
      const rows = await entries(tx)
        .where('e.org_id', '=', orgId)
        .where('e.seq', '>=', cursor.seq)
        .where('e.seq', '<', end)
        .where(sql<boolean>`(e.result = 'refused' or e.risk >= ${interest.minRisk} or e.action like any(${[...interest.actionsLike]}::text[]))`)
        .orderBy('e.seq')
        .execute();
      await work(rows.map((row) => fromRow(row).entry), (history) => countActs(tx, orgId, history));
      await tx.updateTable('audit_rule_cursors').set({ seq: end }).where('org_id', '=', orgId).execute();
      return end < (tree?.size ?? 0);
    });
  }
}

async function countActs(tx: Tx, orgId: string, { actorId, upTo, since, result, actionLike, most }: ActorHistory): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from (
      select 1 from audit_entries where org_id = ${orgId} and actor_id = ${actorId} and seq <= ${upTo} and at >= ${since}
        and (${result ?? null}::text is null or result = ${result ?? null}) and (${actionLike ?? null}::text is null or action like ${actionLike ?? null})
      order by seq desc limit ${most}) as acts`.execute(tx);
  return rows[0]?.n ?? 0;
}
