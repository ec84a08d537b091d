import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { z } from 'zod';
import { commitTo, encodeEntry, PERSONAL_FIELDS, SALT_BYTES, type AuditEntry, type OpenedFields } from '../schemas/audit/entry.ts';
import { HASH_BYTES, hashLeaf } from '../schemas/audit/merkle.ts';
import { GrowingTree, type CompletedNode } from '../schemas/audit/tree.ts';
import type { Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';

/** Subtrees of 2^8, 2^16, ... leaves are kept; smaller ones are hashed anew from their leaves. */
export const NODE_LEVELS = 8;
/** Acts one transaction numbers. Larger ones gain nothing and hold their row lock for longer. */
const ACTS_AT_ONCE = 2000;

interface WaitingAct {
  readonly id: string;
  readonly at: Date;
  readonly action: string;
  readonly result: Act['result'];
  readonly actor_kind: string;
  readonly actor_id: string;
  readonly impersonator_id: string | null;
  readonly resource_kind: string;
  readonly resource_id: string;
  readonly request_id: string;
  readonly risk: number;
  readonly details: unknown;
  readonly personal: unknown;
}

interface SequencedAct {
  readonly entry: AuditEntry;
  readonly leafHash: Buffer;
  readonly opened: OpenedFields;
}

const personalValues = z.partialRecord(z.enum(PERSONAL_FIELDS), z.string());
const details = z.record(z.string(), z.unknown());

/** Gives acts their numbers. The row of an organisation's tree is its lock, held to the commit, so that the log cannot fork. */
export class AuditSequencerStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Organisations with acts that wait, found by skipping through the key. */
  async waitingOfAllOrganisations(): Promise<string[]> {
    const { rows } = await sql<{ org_id: string }>`
      with recursive waiting as (
        (select org_id from audit_acts order by org_id limit 1)
        union all
        select (select a.org_id from audit_acts a where a.org_id > w.org_id order by a.org_id limit 1) from waiting w where w.org_id is not null
      ) select org_id from waiting where org_id is not null`.execute(this.#database.system);
    return rows.map((row) => row.org_id);
  }

  /** How many acts wait and since when, seconds. */
  async backlogOfAllOrganisations(): Promise<{ acts: number; lagSeconds: number }> {
    const { rows } = await sql<{ acts: number; lag: number | null }>`
      select count(*)::float8 as acts, extract(epoch from clock_timestamp() - min(at))::float8 as lag from (select at from audit_acts limit 100000) as waiting`.execute(this.#database.system);
    return { acts: rows[0]?.acts ?? 0, lagSeconds: rows[0]?.lag ?? 0 };
  }

  /**
   * Numbers and hashes what waits of one organisation, in one transaction: acts, tree and personal values change together.
   * @returns how many; 0 also when another process is at it.
   */
  async sequenceAcrossOrganisations(orgId: string): Promise<{ sequenced: number; more: boolean }> {
    return this.#database.system.transaction().execute(async (tx) => {
      const tree = await lockTree(tx, orgId);
      if (tree === undefined) return { sequenced: 0, more: false };
      const acts = await takeActs(tx, orgId);
      if (acts.length === 0) return { sequenced: 0, more: false };
      const completed: CompletedNode[] = [];
      const first = Number(tree.size);
      const sequenced = acts.map((act, index) => {
        const done = sequence(orgId, first + index, act);
        completed.push(...tree.append(done.leafHash).filter((node) => node.level % NODE_LEVELS === 0));
        return done;
      });
      await write(tx, orgId, sequenced, completed, tree);
      return { sequenced: sequenced.length, more: acts.length === ACTS_AT_ONCE };
    });
  }
}

/** The tree, locked to the end of the transaction; undefined while another process holds it. */
async function lockTree(tx: Tx, orgId: string): Promise<GrowingTree | undefined> {
  const select = () => tx.selectFrom('audit_trees').select(['size', 'roots']).where('org_id', '=', orgId).forUpdate().skipLocked().executeTakeFirst();
  let row = await select();
  if (row === undefined) {
    await tx.insertInto('audit_trees').values({ org_id: orgId }).onConflict((conflict) => conflict.doNothing()).execute();
    row = await select();
  }
  return row === undefined ? undefined : treeOf(row);
}

export function treeOf(row: { size: number; roots: Buffer }): GrowingTree {
  const roots = Array.from({ length: row.roots.length / HASH_BYTES }, (_, index) => row.roots.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES));
  return new GrowingTree(BigInt(row.size), roots);
}

/**
 * What is visible is committed; ids are of time, so the order within a batch is that of the acts. Their ids first, then the rows by
 * them: a subquery in the delete is joined anew for each row when the planner takes the table for empty, as it mostly is.
 */
async function takeActs(tx: Tx, orgId: string): Promise<WaitingAct[]> {
  const { rows: next } = await sql<{ id: string }>`select id from audit_acts where org_id = ${orgId} order by id limit ${ACTS_AT_ONCE}`.execute(tx);
  if (next.length === 0) return [];
  const { rows } = await sql<WaitingAct>`
    delete from audit_acts where org_id = ${orgId} and id = any(${next.map(({ id }) => id)}::uuid[])
    returning id, at, action, result, actor_kind, actor_id, impersonator_id, resource_kind, resource_id, request_id, risk, details, personal`.execute(tx);
  return rows.toSorted((one, other) => one.at.getTime() - other.at.getTime() || (one.id < other.id ? -1 : 1));
}

function sequence(orgId: string, seq: number, act: WaitingAct): SequencedAct {
  const opened: OpenedFields = {};
  const commitments: AuditEntry['commitments'] = {};
  const values = personalValues.parse(act.personal);
  for (const field of PERSONAL_FIELDS) {
    const value = values[field];
    if (value === undefined) continue;
    const salt = randomBytes(SALT_BYTES);
    opened[field] = { salt: salt.toString('hex'), value };
    commitments[field] = commitTo(field, salt, value);
  }
  const entry: AuditEntry = {
    v: 1,
    orgId,
    seq,
    id: act.id,
    at: act.at.toISOString(),
    action: act.action,
    result: act.result,
    actor: { kind: act.actor_kind, id: act.actor_id },
    impersonatorId: act.impersonator_id,
    resource: { kind: act.resource_kind, id: act.resource_id },
    requestId: act.request_id,
    risk: act.risk,
    details: details.parse(act.details),
    commitments,
  };
  return { entry, leafHash: hashLeaf(encodeEntry(entry)), opened };
}

async function write(tx: Tx, orgId: string, sequenced: readonly SequencedAct[], completed: readonly CompletedNode[], tree: GrowingTree): Promise<void> {
  const column = <T>(pick: (act: SequencedAct) => T): T[] => sequenced.map(pick);
  const personal = sequenced.filter(({ opened }) => Object.keys(opened).length > 0);
  await sql`
    with grown as (
      update audit_trees set size = ${Number(tree.size)}, roots = ${Buffer.concat(tree.roots)} where org_id = ${orgId}
    ), nodes as (
      insert into audit_nodes (org_id, level, index, hash)
      select ${orgId}::uuid, * from unnest(${completed.map((node) => node.level)}::smallint[], ${completed.map((node) => String(node.index))}::bigint[], ${completed.map((node) => Buffer.from(node.hash))}::bytea[])
    )
    insert into audit_entries (org_id, seq, id, at, action, result, actor_kind, actor_id, impersonator_id, resource_kind, resource_id, request_id, risk, details, commitments, leaf_hash)
    select ${orgId}::uuid, * from unnest(
      ${column(({ entry }) => entry.seq)}::bigint[], ${column(({ entry }) => entry.id)}::uuid[], ${column(({ entry }) => entry.at)}::timestamptz[],
      ${column(({ entry }) => entry.action)}::text[], ${column(({ entry }) => entry.result)}::text[],
      ${column(({ entry }) => entry.actor.kind)}::text[], ${column(({ entry }) => entry.actor.id)}::text[], ${column(({ entry }) => entry.impersonatorId)}::text[],
      ${column(({ entry }) => entry.resource.kind)}::text[], ${column(({ entry }) => entry.resource.id)}::text[], ${column(({ entry }) => entry.requestId)}::text[],
      ${column(({ entry }) => entry.risk)}::smallint[], ${column(({ entry }) => JSON.stringify(entry.details))}::jsonb[], ${column(({ entry }) => JSON.stringify(entry.commitments))}::jsonb[],
      ${column(({ leafHash }) => leafHash)}::bytea[])`.execute(tx);
  if (personal.length === 0) return;
  await sql`
    insert into audit_personal (org_id, seq, at, fields)
    select ${orgId}::uuid, * from unnest(${personal.map(({ entry }) => entry.seq)}::bigint[], ${personal.map(({ entry }) => entry.at)}::timestamptz[], ${personal.map(({ opened }) => JSON.stringify(opened))}::jsonb[])`.execute(tx);
}
