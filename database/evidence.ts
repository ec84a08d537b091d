import { createHash } from 'node:crypto';
import { sql, type ColumnType, type Kysely, type RawBuilder } from 'kysely';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { StatementStore, statementHash } from './statements.ts';
import type { Tables } from './tables.ts';

export interface EvidenceTables {
  control_evidence: {
    org_id: string;
    collection: string;
    control: string;
    at: Timestamp;
    result: EvidenceResult;
    numbers: ColumnType<Numbers, string, never>;
    previous_hash: Buffer | null;
    hash: Buffer;
  };
}

export type EvidenceResult = 'passed' | 'failed' | 'error';
export type Numbers = Readonly<Record<string, number>>;

export interface Finding {
  readonly passed: boolean;
  readonly numbers: Numbers;
}

export interface EvidenceRecord {
  readonly control: string;
  readonly at: Date;
  readonly result: EvidenceResult;
  readonly numbers: Numbers;
  /** SHA-256, 64 hexadecimal digits. */
  readonly previousHash: string | null;
  readonly hash: string;
}

interface Scope {
  readonly orgId: string;
  /** Sees the organisation only. */
  readonly tx: Tx;
  /** For tables that the application role may write and not read. */
  readonly system: Kysely<Tables>;
  readonly database: Database;
}

/** Days after which a key that was not used should have gone. */
const UNUSED_DAYS = 90;
/** Days after which a dead letter should have been looked at. */
const LETTER_DAYS = 30;
/** Longest dedup window that can be set (HAL9_DEDUP_DAYS), days. */
const WINDOW_DAYS = 90;

/** What the database can show of a control, by name. Each counts what would speak against it. */
const QUERIES = {
  async 'row-level-security'({ tx }: Scope) {
    const { tables, unguarded } = await one(tx, sql<{ tables: number; unguarded: number }>`
      select count(*)::int as tables, count(*) filter (where not (c.relrowsecurity and c.relforcerowsecurity))::int as unguarded
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`);
    return { passed: unguarded === 0 && tables > 0, numbers: { tables, unguarded } };
  },
  async 'database-roles'({ tx }: Scope) {
    const { roles, powerful } = await one(tx, sql<{ roles: number; powerful: number }>`
      select count(*)::int as roles, count(*) filter (where rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)::int as powerful from pg_roles where rolname in ('hal9_app', 'hal9_system')`);
    return { passed: roles === 2 && powerful === 0, numbers: { roles, powerful } };
  },
  async 'keys-hashed'({ tx, orgId }: Scope) {
    const { keys, odd } = await one(tx, sql<{ keys: number; odd: number }>`select count(*)::int as keys, count(*) filter (where octet_length(secret_hash) <> 32)::int as odd from api_keys where org_id = ${orgId}`);
    return { passed: odd === 0, numbers: { keys, odd } };
  },
  async 'keys-in-use'({ tx, orgId }: Scope) {
    const { keys, unused } = await one(tx, sql<{ keys: number; unused: number }>`
      select count(*)::int as keys, count(*) filter (where coalesce(last_used_at, created_at) < now() - make_interval(days => ${UNUSED_DAYS}))::int as unused
      from api_keys where org_id = ${orgId} and revoked_at is null and (expires_at is null or expires_at > now())`);
    return { passed: unused === 0, numbers: { keys, unused } };
  },
  async 'leavers-locked-out'({ tx, orgId }: Scope) {
    const { leavers, sessions } = await one(tx, sql<{ leavers: number; sessions: number }>`
      select count(distinct u.id)::int as leavers, count(s.id)::int as sessions from users u
      left join sessions s on s.org_id = u.org_id and s.user_id = u.id and s.ended_at is null and s.expires_at > now() where u.org_id = ${orgId} and not u.active`);
    return { passed: sessions === 0, numbers: { leavers, sessions } };
  },
  async 'second-factors'({ tx, orgId }: Scope) {
    const { people, without } = await one(tx, sql<{ people: number; without: number }>`
      select count(*)::int as people, count(*) filter (where not exists (select from user_factors f where f.org_id = u.org_id and f.user_id = u.id))::int as without
      from users u where u.org_id = ${orgId} and u.active and u.password_hash is not null`);
    return { passed: without === 0, numbers: { people, without } };
  },
  async 'acts-sequenced'({ system, orgId }: Scope) {
    const { waiting } = await one(system, sql<{ waiting: number }>`select count(*)::int as waiting from audit_acts where org_id = ${orgId} and at < now() - interval '1 minute'`);
    return { passed: waiting === 0, numbers: { waiting } };
  },
  async 'audit-gapless'({ tx, orgId }: Scope) {
    const { entries, size, gaps } = await one(tx, sql<{ entries: number; size: number; gaps: number }>`
      select count(*)::int as entries, coalesce((select t.size from audit_trees t where t.org_id = ${orgId}), 0)::int as size, (coalesce(max(seq) + 1, 0) - count(*))::int as gaps from audit_entries where org_id = ${orgId}`);
    return { passed: gaps === 0 && entries === size, numbers: { entries, size, gaps } };
  },
  async 'signals-decided'({ tx, orgId }: Scope) {
    const { late, stuck } = await one(tx, sql<{ late: number; stuck: number }>`
      select (select count(*) from chunks where org_id = ${orgId} and batch_id is null and received_at < now() - interval '1 hour')::int as late,
        (select count(*) from batches where org_id = ${orgId} and state = 'open' and opened_at < now() - interval '1 hour')::int as stuck`);
    return { passed: late === 0 && stuck === 0, numbers: { late, stuck } };
  },
  async 'dead-letters-handled'({ tx, orgId }: Scope) {
    const { open, old } = await one(tx, sql<{ open: number; old: number }>`
      select count(*)::int as open, count(*) filter (where created_at < now() - make_interval(days => ${LETTER_DAYS}))::int as old from dead_letters where org_id = ${orgId} and replayed_at is null`);
    return { passed: old === 0, numbers: { open, old } };
  },
  async 'components-recover'({ tx, orgId }: Scope) {
    const { recoveries, failed } = await one(tx, sql<{ recoveries: number; failed: number }>`
      select count(*)::int as recoveries, count(*) filter (where outcome = 'failed')::int as failed from health_recoveries where org_id = ${orgId} and started_at > now() - interval '1 day'`);
    return { passed: failed === 0, numbers: { recoveries, failed } };
  },
  async 'dedup-window-kept'({ tx, orgId }: Scope) {
    const { old } = await one(tx, sql<{ old: number }>`select count(*)::int as old from signal_keys where org_id = ${orgId} and received_on < (now() at time zone 'utc')::date - ${WINDOW_DAYS + 1}::integer`);
    return { passed: old === 0, numbers: { old } };
  },
  async 'consents-complete'({ tx, orgId }: Scope) {
    const { records, incomplete } = await one(tx, sql<{ records: number; incomplete: number }>`
      select count(*)::int as records, count(*) filter (where text_version = '' or source = '' or at > recorded_at + interval '5 minutes')::int as incomplete from consent_records where org_id = ${orgId}`);
    return { passed: incomplete === 0, numbers: { records, incomplete } };
  },
  async 'statements-intact'({ database, orgId }: Scope) {
    const statements = (await new StatementStore(database).list(orgId, 1_000)).reverse();
    let previous: string | null = null;
    let broken = 0;
    for (const statement of statements) {
      if (statementHash(statement) !== statement.hash || statement.previousHash !== previous) broken += 1;
      previous = statement.hash;
    }
    return { passed: broken === 0, numbers: { statements: statements.length, broken } };
  },
  async 'evidence-intact'({ tx, orgId }: Scope) {
    const rows = (await tx.selectFrom('control_evidence').selectAll().where('org_id', '=', orgId).orderBy('control').orderBy('at').execute()).map(fromRow);
    const last = new Map<string, string>();
    let broken = 0;
    for (const row of rows) {
      if (evidenceHash(row) !== row.hash || row.previousHash !== (last.get(row.control) ?? null)) broken += 1;
      last.set(row.control, row.hash);
    }
    return { passed: broken === 0, numbers: { rows: rows.length, broken } };
  },
} as const satisfies Record<string, (scope: Scope) => Promise<Finding>>;

export type EvidenceQuery = keyof typeof QUERIES;
export const EVIDENCE_QUERIES: readonly EvidenceQuery[] = Object.keys(QUERIES).filter((name): name is EvidenceQuery => Object.hasOwn(QUERIES, name));

/** Evidence of controls, and the queries it is made by. */
export class EvidenceStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Asks the database what it can show now. */
  async ask(orgId: string, query: EvidenceQuery): Promise<Finding> {
    const database = this.#database;
    const question: (scope: Scope) => Promise<Finding> = QUERIES[query];
    return database.withOrg(orgId, (tx) => question({ orgId, tx, system: database.system, database }));
  }

  /** Keeps evidence; what a collection has kept of a control already stays. @returns the row that is kept. */
  async keep(orgId: string, collection: string, evidence: Pick<EvidenceRecord, 'control' | 'at' | 'result' | 'numbers'>): Promise<EvidenceRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`hal9 evidence ${orgId} ${evidence.control}`}, 0))`.execute(tx);
      const known = await tx.selectFrom('control_evidence').selectAll().where('org_id', '=', orgId).where('control', '=', evidence.control).where('collection', '=', collection).executeTakeFirst();
      if (known !== undefined) return fromRow(known);
      const last = await tx.selectFrom('control_evidence').select(['hash', 'at']).where('org_id', '=', orgId).where('control', '=', evidence.control).orderBy('at', 'desc').limit(1).executeTakeFirst();
      // Two runs at once: the later one to write is the later one in the chain.
      const at = last !== undefined && last.at >= evidence.at ? new Date(last.at.getTime() + 1) : evidence.at;
      const record = { ...evidence, at, previousHash: last?.hash.toString('hex') ?? null };
      const row = await tx
        .insertInto('control_evidence')
        .values({ org_id: orgId, collection, control: evidence.control, at, result: evidence.result, numbers: JSON.stringify(evidence.numbers), previous_hash: last?.hash ?? null, hash: Buffer.from(evidenceHash(record), 'hex') })
        .returningAll()
        .executeTakeFirstOrThrow();
      return fromRow(row);
    });
  }

  /** Latest evidence of each control, and of each day in the span whether there was some and all of it passed. */
  async overview(orgId: string, from: Date, to: Date): Promise<{ latest: EvidenceRecord[]; days: { control: string; day: string; rows: number; failed: number }[] }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const latest = await tx.selectFrom('control_evidence').selectAll().distinctOn('control').where('org_id', '=', orgId).orderBy('control').orderBy('at', 'desc').execute();
      const days = await sql<{ control: string; day: string; rows: number; failed: number }>`
        select control, (at at time zone 'UTC')::date as day, count(*)::int as rows, count(*) filter (where result <> 'passed')::int as failed
        from control_evidence where org_id = ${orgId} and at >= ${from} and at < ${to} group by 1, 2 order by 1, 2`.execute(tx);
      return { latest: latest.map(fromRow), days: days.rows };
    });
  }

  /** Newest first. */
  async list(orgId: string, control: string, limit: number, before?: Date): Promise<EvidenceRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('control_evidence').selectAll().where('org_id', '=', orgId).where('control', '=', control).orderBy('at', 'desc').limit(limit);
      if (before !== undefined) query = query.where('at', '<', before);
      return (await query.execute()).map(fromRow);
    });
  }

  /** Organisations that are older than an hour. */
  async settledOrganisationsAcrossAll(): Promise<string[]> {
    const rows = await this.#database.system.selectFrom('organisations').select('org_id').where('created_at', '<', sql<Date>`now() - interval '1 hour'`).orderBy('org_id').execute();
    return rows.map((row) => row.org_id);
  }
}

/** SHA-256 over evidence and the hash before, as hexadecimal digits. */
export function evidenceHash({ control, at, result, numbers, previousHash }: Omit<EvidenceRecord, 'hash'>): string {
  const sorted = Object.entries(numbers).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify([control, at.toISOString(), result, sorted, previousHash])).digest('hex');
}

async function one<Row>(executor: Kysely<Tables>, query: RawBuilder<Row>): Promise<Row> {
  const { rows } = await query.execute(executor);
  if (rows[0] === undefined) throw new Error('the query answers one row');
  return rows[0];
}

function fromRow(row: { control: string; at: Date; result: EvidenceResult; numbers: Numbers; previous_hash: Buffer | null; hash: Buffer }): EvidenceRecord {
  return { control: row.control, at: row.at, result: row.result, numbers: row.numbers, previousHash: row.previous_hash?.toString('hex') ?? null, hash: row.hash.toString('hex') };
}
