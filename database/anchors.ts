import { sql } from 'kysely';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';

export interface AnchorStream {
  readonly id: string;
  readonly name: string;
  readonly networkId: string;
  readonly signerId: string;
  readonly source: 'hashes' | 'audit' | 'memory';
  /** `0x` and 64 hexadecimal digits. */
  readonly stream: string;
  readonly createdAt: Date;
}

export interface AnchorBatch {
  readonly position: number;
  readonly root: string;
  readonly count: number;
  readonly createdAt: Date;
}

const STREAM = sql.raw('id, name, network_id as "networkId", signer_id as "signerId", source, stream, created_at as "createdAt"');
const BATCH = sql.raw('position, root, count, created_at as "createdAt"');

/** Streams of hashes, and the batches they were anchored in. */
export class AnchorStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name; `after` is the last of the page before. */
  async streams(orgId: string, limit: number, after?: string): Promise<AnchorStream[]> {
    return this.#database.withOrg(orgId, async (tx) => (await sql<AnchorStream>`select ${STREAM} from anchor_streams where org_id = ${orgId} and name > ${after ?? ''} order by name limit ${limit}`.execute(tx)).rows);
  }

  async stream(orgId: string, id: string): Promise<AnchorStream | undefined> {
    return this.#database.withOrg(orgId, async (tx) => (await sql<AnchorStream>`select ${STREAM} from anchor_streams where org_id = ${orgId} and id = ${id}`.execute(tx)).rows[0]);
  }

  /** @returns undefined when the name is taken. */
  async insert(orgId: string, { id, name, networkId, signerId, source, stream }: Omit<AnchorStream, 'createdAt'>, act: Act): Promise<AnchorStream | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<AnchorStream>`insert into anchor_streams (org_id, id, name, network_id, signer_id, source, stream) values (${orgId}, ${id}, ${name}, ${networkId}, ${signerId}, ${source}, ${stream}) on conflict do nothing returning ${STREAM}`.execute(tx);
      if (rows[0] !== undefined) await recordAct(tx, act);
      return rows[0];
    });
  }

  /** Puts hashes in, each once for ever. @returns how many were new. */
  async add(orgId: string, streamId: string, hashes: readonly string[], act?: Act): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numAffectedRows } = await sql`insert into anchor_hashes (org_id, stream_id, hash) select ${orgId}::uuid, ${streamId}::uuid, decode(substr(h.hash, 3), 'hex') from unnest(${[...hashes]}::text[]) with ordinality as h(hash, n) order by h.n on conflict do nothing`.execute(tx);
      if (act !== undefined) await recordAct(tx, act);
      return Number(numAffectedRows ?? 0n);
    });
  }

  /** Puts in what is remembered and is not there yet, oldest first. @returns how many. */
  async addMemories(orgId: string, streamId: string, limit: number): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numAffectedRows } = await sql`
        insert into anchor_hashes (org_id, stream_id, hash)
        select m.org_id, ${streamId}::uuid, m.digest from memories m
        where m.org_id = ${orgId} and not exists (select from anchor_hashes h where h.org_id = m.org_id and h.stream_id = ${streamId}::uuid and h.hash = m.digest)
        order by m.created_at, m.id limit ${limit} on conflict do nothing`.execute(tx);
      return Number(numAffectedRows ?? 0n);
    });
  }

  /**
   * Makes a batch of what waits, oldest first. One at a time of a stream: the row of the stream is locked meanwhile.
   * @param limit most hashes of it.
   * @param step that anchors it; see {@link take}.
   * @param rootOf root of the tree over hashes, in their order.
   * @returns undefined when nothing waits.
   */
  async cut(orgId: string, streamId: string, limit: number, step: string, rootOf: (hashes: readonly string[]) => string): Promise<AnchorBatch | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`hal9 anchor ${streamId}`}, 0))`.execute(tx);
      const { rows } = await sql<{ seq: string; hash: string }>`select seq::text as seq, '0x' || encode(hash, 'hex') as hash from anchor_hashes where org_id = ${orgId} and stream_id = ${streamId} and position is null order by seq limit ${limit}`.execute(tx);
      if (rows.length === 0) return undefined;
      const root = rootOf(rows.map(({ hash }) => hash));
      const made = await sql<AnchorBatch>`insert into anchor_batches (org_id, stream_id, position, root, count, step) select ${orgId}::uuid, ${streamId}::uuid, count(*), ${root}, ${rows.length}, ${step} from anchor_batches where org_id = ${orgId} and stream_id = ${streamId} returning ${BATCH}`.execute(tx);
      const [batch] = made.rows;
      if (batch === undefined) throw new Error('a batch was not written');
      await sql`update anchor_hashes set position = ${batch.position} where org_id = ${orgId} and stream_id = ${streamId} and seq = any(${rows.map(({ seq }) => seq)}::bigint[])`.execute(tx);
      return batch;
    });
  }

  /** Notes the step of a run that anchors a batch which another has left. */
  async take(orgId: string, streamId: string, position: number, step: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => sql`update anchor_batches set step = ${step} where org_id = ${orgId} and stream_id = ${streamId} and position = ${position}`.execute(tx));
  }

  /** The newest batch, with the step of a run that took it last. */
  async newest(orgId: string, streamId: string): Promise<(AnchorBatch & { readonly step: string | null }) | undefined> {
    return this.#database.withOrg(orgId, async (tx) => (await sql<AnchorBatch & { step: string | null }>`select ${BATCH}, step from anchor_batches where org_id = ${orgId} and stream_id = ${streamId} order by position desc limit 1`.execute(tx)).rows[0]);
  }

  /** Newest first; `before` is the position of the last of the page before. */
  async batches(orgId: string, streamId: string, limit: number, before?: number): Promise<AnchorBatch[]> {
    return this.#database.withOrg(orgId, async (tx) => (await sql<AnchorBatch>`select ${BATCH} from anchor_batches where org_id = ${orgId} and stream_id = ${streamId} and (${before ?? null}::int is null or position < ${before ?? null}) order by position desc limit ${limit}`.execute(tx)).rows);
  }

  /** The batch that holds a hash; its `batch` undefined while it waits. Undefined when it was never put in. */
  async find(orgId: string, streamId: string, hash: string): Promise<{ readonly batch: AnchorBatch | undefined } | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ position: number | null }>`select position from anchor_hashes where org_id = ${orgId} and stream_id = ${streamId} and hash = decode(${hash.slice(2)}, 'hex')`.execute(tx);
      const [found] = rows;
      if (found === undefined) return undefined;
      if (found.position === null) return { batch: undefined };
      const batches = await sql<AnchorBatch>`select ${BATCH} from anchor_batches where org_id = ${orgId} and stream_id = ${streamId} and position = ${found.position}`.execute(tx);
      return { batch: batches.rows[0] };
    });
  }

  /** Hashes of a batch, in their order. */
  async hashes(orgId: string, streamId: string, position: number): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ hash: string }>`select '0x' || encode(hash, 'hex') as hash from anchor_hashes where org_id = ${orgId} and stream_id = ${streamId} and position = ${position} order by seq`.execute(tx);
      return rows.map(({ hash }) => hash);
    });
  }
}
