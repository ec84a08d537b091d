import { sql, type Transaction } from 'kysely';
import { z } from 'zod';
import { auditEntry, openedFields, type AuditEntry, type OpenedFields } from '../schemas/audit/entry.ts';
import { hashNode, splitOf } from '../schemas/audit/merkle.ts';
import { parseCheckpoint, parseNote } from '../schemas/audit/note.ts';
import { inclusionRanges, type LeafRange } from '../schemas/audit/tree.ts';
import { recordAct, type Act } from './audit-acts.ts';
import { NODE_LEVELS, treeOf } from './audit-sequencer.ts';
import type { Database, Tx } from './database.ts';
import type { Tables } from './tables.ts';

export interface LoggedEntry {
  readonly entry: AuditEntry;
  readonly leafHash: Buffer;
  /** What is left of the personal values. */
  readonly opened: OpenedFields;
}

export interface AuditFilter {
  readonly action?: string | undefined;
  readonly actor?: string | undefined;
  readonly resource?: string | undefined;
  readonly result?: Act['result'] | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
  readonly minRisk?: number | undefined;
}

export interface StoredCheckpoint {
  readonly size: number;
  readonly note: string;
  readonly signer: string;
  readonly witness: string;
  readonly at: Date;
}

export interface StoredInclusion {
  readonly treeSize: number;
  readonly leafHash: Buffer;
  /** As the checkpoint says, where there is one. */
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly checkpoint: string | null;
}

/** The tree as the database has it now. */
export interface TreeHead {
  readonly size: bigint;
  readonly root: Uint8Array;
}

/** Reads an organisation's audit log, and makes proofs from it. */
export class AuditLogStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Latest first. @param before entries below this number. */
  async list(orgId: string, filter: AuditFilter, limit: number, before?: number): Promise<LoggedEntry[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let select = entries(tx).where('e.org_id', '=', orgId);
      if (filter.action !== undefined) select = select.where('e.action', '=', filter.action);
      if (filter.actor !== undefined) select = select.where('e.actor_id', '=', filter.actor);
      if (filter.resource !== undefined) select = select.where('e.resource_id', '=', filter.resource);
      if (filter.result !== undefined) select = select.where('e.result', '=', filter.result);
      if (filter.from !== undefined) select = select.where('e.at', '>=', filter.from);
      if (filter.to !== undefined) select = select.where('e.at', '<', filter.to);
      if (filter.minRisk !== undefined) select = select.where('e.risk', '>=', filter.minRisk);
      if (before !== undefined) select = select.where('e.seq', '<', before);
      return (await select.orderBy('e.seq', 'desc').limit(limit).execute()).map(fromRow);
    });
  }

  /** @param seq the first number; entries follow in their order. */
  async from(orgId: string, seq: number, limit: number, below = Number.MAX_SAFE_INTEGER): Promise<LoggedEntry[]> {
    return this.#database.withOrg(orgId, async (tx) => (await entries(tx).where('e.org_id', '=', orgId).where('e.seq', '>=', seq).where('e.seq', '<', below).orderBy('e.seq').limit(limit).execute()).map(fromRow));
  }

  async find(orgId: string, seq: number): Promise<LoggedEntry | undefined> {
    const row = await this.#database.withOrg(orgId, (tx) => entries(tx).where('e.org_id', '=', orgId).where('e.seq', '=', seq).executeTakeFirst());
    return row === undefined ? undefined : fromRow(row);
  }

  /** Number of the first entry at this time or later; the log's size when there is none. */
  async firstAt(orgId: string, at: Date): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('audit_entries').select(({ fn }) => fn.min('seq').as('seq')).where('org_id', '=', orgId).where('at', '>=', at).executeTakeFirst();
      if (typeof row?.seq === 'number') return row.seq;
      return (await tx.selectFrom('audit_trees').select('size').where('org_id', '=', orgId).executeTakeFirst())?.size ?? 0;
    });
  }

  async head(orgId: string): Promise<TreeHead> {
    const row = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('audit_trees').select(['size', 'roots']).where('org_id', '=', orgId).executeTakeFirst());
    const tree = treeOf(row ?? { size: 0, roots: Buffer.alloc(0) });
    return { size: tree.size, root: tree.root };
  }

  /**
   * The proof that an entry is in the log, in one transaction.
   * @param wanted size of the tree; default that of the latest checkpoint.
   * @returns undefined when there is no such entry, or it is not in a tree of that size.
   */
  async inclusion(orgId: string, seq: number, wanted?: number): Promise<StoredInclusion | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ leaf_hash: Buffer; log_size: number; size: number | null; note: string | null }>`
        select e.leaf_hash, t.size as log_size, c.size, c.note from audit_entries e join audit_trees t using (org_id)
        left join lateral (select size, note from audit_checkpoints c where c.org_id = e.org_id and (${wanted ?? null}::bigint is null or c.size = ${wanted ?? null}) order by size desc limit 1) c on true
        where e.org_id = ${orgId} and e.seq = ${seq}`.execute(tx);
      const [found] = rows;
      const treeSize = wanted ?? found?.size ?? undefined;
      if (found === undefined || treeSize === undefined || treeSize <= seq || treeSize > found.log_size) return undefined;
      const ranges = inclusionRanges(BigInt(seq), BigInt(treeSize));
      if (found.note !== null) return { treeSize, leafHash: found.leaf_hash, root: parseCheckpoint(parseNote(found.note).text).root, proof: await rootsOf(tx, orgId, ranges), checkpoint: found.note };
      const [root, ...proof] = await rootsOf(tx, orgId, [{ start: 0n, end: BigInt(treeSize) }, ...ranges]);
      if (root === undefined) throw new Error('no root');
      return { treeSize, leafHash: found.leaf_hash, root, proof, checkpoint: null };
    });
  }

  /** Roots of these ranges of leaves, in their order. */
  async roots(orgId: string, ranges: readonly LeafRange[]): Promise<Uint8Array[]> {
    return this.#database.withOrg(orgId, (tx) => rootsOf(tx, orgId, ranges));
  }

  /** Latest first. @param below checkpoints of smaller trees. */
  async checkpoints(orgId: string, limit: number, below?: number): Promise<StoredCheckpoint[]> {
    return this.#database.withOrg(orgId, (tx) => {
      let select = tx.selectFrom('audit_checkpoints').select(['size', 'note', 'signer', 'witness', 'at']).where('org_id', '=', orgId);
      if (below !== undefined) select = select.where('size', '<', below);
      return select.orderBy('size', 'desc').limit(limit).execute();
    });
  }

  /** In order of size. @param above checkpoints of larger trees. */
  async checkpointsFrom(orgId: string, above: number, upTo: number): Promise<StoredCheckpoint[]> {
    return this.#database.withOrg(orgId, (tx) =>
      tx.selectFrom('audit_checkpoints').select(['size', 'note', 'signer', 'witness', 'at']).where('org_id', '=', orgId).where('size', '>', above).where('size', '<=', upTo).orderBy('size').execute(),
    );
  }

  /**
   * Erases the personal values of every act of, as or upon this user, numbered or not. The entries, their hashes and their proofs
   * stay what they are.
   * @returns acts whose values were erased.
   */
  async erasePersonal(orgId: string, userId: string, act: Act): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      // In this order: an act the sequencer is just moving is waited for here, and found where it went by the next statement.
      const mine = sql`org_id = ${orgId} and (actor_id = ${userId} or impersonator_id = ${userId} or (resource_kind = 'user' and resource_id = ${userId}))`;
      const waiting = await sql`update audit_acts set personal = '{}' where ${mine} and personal <> '{}'`.execute(tx);
      const logged = await sql`delete from audit_personal where org_id = ${orgId} and seq in (select seq from audit_entries where ${mine})`.execute(tx);
      const erased = Number((waiting.numAffectedRows ?? 0n) + (logged.numAffectedRows ?? 0n));
      await recordAct(tx, { ...act, details: { ...act.details, erased } });
      return erased;
    });
  }

  /** Erases personal values older than `days`. @returns acts whose values were erased by this call, at most `limit`. */
  async erasePersonalAcrossOrganisations(days: number, limit: number): Promise<number> {
    const { numAffectedRows } = await sql`
      delete from audit_personal where (org_id, seq) in (select org_id, seq from audit_personal where at < now() - make_interval(days => ${days}) order by at limit ${limit})`.execute(this.#database.system);
    return Number(numAffectedRows ?? 0n);
  }
}

export function entries(tx: Transaction<Tables> | Database['system']) {
  return tx.selectFrom('audit_entries as e').leftJoin('audit_personal as p', (join) => join.onRef('p.org_id', '=', 'e.org_id').onRef('p.seq', '=', 'e.seq')).selectAll('e').select('p.fields');
}

type EntryRow = Awaited<ReturnType<ReturnType<typeof entries>['execute']>>[number];

const json = z.record(z.string(), z.unknown());

/** The entry as its columns have it, whatever was done to them: what is hashed is what is read. */
export function fromRow(row: EntryRow): LoggedEntry {
  const entry: AuditEntry = {
    v: 1,
    orgId: row.org_id,
    seq: row.seq,
    id: row.id,
    at: row.at.toISOString(),
    action: row.action,
    result: row.result,
    actor: { kind: row.actor_kind, id: row.actor_id },
    impersonatorId: row.impersonator_id,
    resource: { kind: row.resource_kind, id: row.resource_id },
    requestId: row.request_id,
    risk: row.risk,
    details: json.parse(row.details),
    commitments: auditEntry.shape.commitments.parse(row.commitments),
  };
  return { entry, leafHash: row.leaf_hash, opened: row.fields === null ? {} : openedFields.parse(row.fields) };
}

interface StoredPiece {
  readonly level: number;
  readonly from: bigint;
  /** Exclusive. */
  readonly to: bigint;
}

/** Roots of ranges, from the largest subtrees that are kept and from leaves at their edges: some hundred rows for millions of leaves. */
export async function rootsOf(tx: Tx | Database['system'], orgId: string, ranges: readonly LeafRange[]): Promise<Uint8Array[]> {
  const pieces = ranges.flatMap(piecesOf);
  const hashes = new Map<string, Uint8Array>();
  const at = (level: number) => pieces.filter((piece) => (piece.level === 0) === (level === 0));
  const bounds = (list: readonly StoredPiece[]) => ({ levels: list.map((piece) => piece.level), from: list.map((piece) => String(piece.from)), to: list.map((piece) => String(piece.to)) });
  const [leaves, nodes] = [bounds(at(0)), bounds(at(1))];
  const { rows } = await sql<{ level: number; index: number; hash: Buffer }>`
    select 0 as level, e.seq as index, e.leaf_hash as hash from unnest(${leaves.from}::bigint[], ${leaves.to}::bigint[]) as r (low, high)
      join audit_entries e on e.org_id = ${orgId} and e.seq >= r.low and e.seq < r.high
    union all
    select n.level, n.index, n.hash from unnest(${nodes.levels}::smallint[], ${nodes.from}::bigint[], ${nodes.to}::bigint[]) as r (level, low, high)
      join audit_nodes n on n.org_id = ${orgId} and n.level = r.level and n.index >= r.low and n.index < r.high`.execute(tx);
  for (const row of rows) hashes.set(`${String(row.level)} ${String(row.index)}`, row.hash);
  return ranges.map((range) => rootOf(range, hashes));
}

function piecesOf({ start, end }: LeafRange): StoredPiece[] {
  const pieces: StoredPiece[] = [];
  for (let at = start; at < end; ) {
    let level = 0;
    const fits = (next: number): boolean => at % (1n << BigInt(next)) === 0n && at + (1n << BigInt(next)) <= end;
    while (fits(level + NODE_LEVELS)) level += NODE_LEVELS;
    const width = 1n << BigInt(level);
    const index = at / width;
    const last = pieces.at(-1);
    if (last?.level === level && last.to === index) pieces[pieces.length - 1] = { ...last, to: index + 1n };
    else pieces.push({ level, from: index, to: index + 1n });
    at += width;
  }
  return pieces;
}

/** @throws {AuditHoleError} when the database lacks a hash it should have. */
function rootOf({ start, end }: LeafRange, hashes: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const width = end - start;
  const level = width.toString(2).length - 1;
  if (width === 1n << BigInt(level) && level % NODE_LEVELS === 0 && start % width === 0n) {
    const known = hashes.get(`${String(level)} ${String(start / width)}`);
    if (known !== undefined) return known;
    throw new AuditHoleError(start, end);
  }
  const split = start + splitOf(width);
  return hashNode(rootOf({ start, end: split }, hashes), rootOf({ start: split, end }, hashes));
}

/** Entries or hashes that should be there are not: somebody took them. */
export class AuditHoleError extends Error {
  override readonly name = 'AuditHoleError';
  readonly start: bigint;
  readonly end: bigint;

  constructor(start: bigint, end: bigint) {
    super(`the audit log lacks what belongs to the entries ${String(start)} to ${String(end - 1n)}`);
    this.start = start;
    this.end = end;
  }
}
