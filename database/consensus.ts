import { sql } from 'kysely';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';

export type ConsensusPhase = 'unopened' | 'opening' | 'committing' | 'revealing' | 'reporting' | 'tallying' | 'challengeable' | 'settling' | 'settled' | 'refunded';
export type Verdict = 'right' | 'wrong' | 'silent';

export interface ConsensusRecord {
  readonly id: string;
  readonly seq: number;
  readonly networkId: string;
  readonly requester: string;
  readonly mode: 'on-chain' | 'off-chain';
  readonly spec: string;
  readonly phase: ConsensusPhase;
  /** Decimal. */
  readonly requestId: string | null;
  readonly round: number;
  readonly resultHash: string | null;
  /** 10^-18 HAL9, decimal. */
  readonly paid: string | null;
  readonly slashed: string | null;
  readonly blockNumber: number | null;
  readonly blockHash: string | null;
  readonly final: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface VoteRecord {
  readonly round: number;
  readonly address: string;
  readonly resultHash: string | null;
  readonly verdict: Verdict | null;
}

/** What the chain says of a request. */
export interface ConsensusStanding extends Pick<ConsensusRecord, 'phase' | 'requestId' | 'round' | 'resultHash' | 'paid' | 'slashed' | 'blockNumber' | 'blockHash' | 'final'> {
  readonly votes: readonly VoteRecord[];
}

/** What a neuron found for a vote; `sealed` null when it found nothing. */
export interface ResultRecord {
  readonly round: number;
  readonly signerId: string;
  readonly sealed: Buffer | null;
  readonly reason: string | null;
}

const COLUMNS = sql.raw(
  `id, seq::float8 as seq, network_id as "networkId", requester, mode, spec, phase, request_id::text as "requestId", round, result_hash as "resultHash", paid::text as paid, slashed::text as slashed,
   block_number::float8 as "blockNumber", block_hash as "blockHash", final, created_at as "createdAt", updated_at as "updatedAt"`,
);

/** Rounds of consensus. */
export class ConsensusStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(orgId: string, limit: number, before?: number): Promise<ConsensusRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ConsensusRecord>`select ${COLUMNS} from consensus_requests where org_id = ${orgId} and (${before ?? null}::bigint is null or seq < ${before ?? null}) order by seq desc limit ${limit}`.execute(tx);
      return rows;
    });
  }

  async find(orgId: string, id: string): Promise<{ readonly request: ConsensusRecord; readonly votes: readonly VoteRecord[] } | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ConsensusRecord>`select ${COLUMNS} from consensus_requests where org_id = ${orgId} and id = ${id}`.execute(tx);
      const [request] = rows;
      if (request === undefined) return undefined;
      const votes = await sql<VoteRecord>`select round, address, result_hash as "resultHash", verdict from consensus_votes where org_id = ${orgId} and consensus_id = ${id} order by round, address`.execute(tx);
      return { request, votes: votes.rows };
    });
  }

  /** Does nothing when it is there. */
  async insert(orgId: string, request: Pick<ConsensusRecord, 'id' | 'networkId' | 'requester' | 'mode' | 'spec'>, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const { id, networkId, requester, mode, spec } = request;
      const { numAffectedRows } = await sql`insert into consensus_requests (org_id, id, network_id, requester, mode, spec) values (${orgId}, ${id}, ${networkId}, ${requester}, ${mode}, ${spec}) on conflict do nothing`.execute(tx);
      if (numAffectedRows === 1n) await recordAct(tx, act);
    });
  }

  /** Writes what the chain says in place of what it said before. */
  async follow(orgId: string, id: string, standing: ConsensusStanding): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const { phase, requestId, round, resultHash, paid, slashed, blockNumber, blockHash, final, votes } = standing;
      await sql`update consensus_requests set phase = ${phase}, request_id = ${requestId}, round = ${round}, result_hash = ${resultHash}, paid = ${paid}, slashed = ${slashed}, block_number = ${blockNumber}, block_hash = ${blockHash}, final = ${final}, updated_at = now()
        where org_id = ${orgId} and id = ${id} and (phase, request_id, round, result_hash, paid, slashed, block_number, block_hash, final) is distinct from (${phase}::text, ${requestId}::numeric, ${round}::int, ${resultHash}::text, ${paid}::numeric, ${slashed}::numeric, ${blockNumber}::bigint, ${blockHash}::text, ${final}::boolean)`.execute(tx);
      await sql`delete from consensus_votes where org_id = ${orgId} and consensus_id = ${id}`.execute(tx);
      if (votes.length === 0) return;
      await sql`insert into consensus_votes (org_id, consensus_id, round, address, result_hash, verdict)
        select ${orgId}::uuid, ${id}::uuid, v.round, v.address, v."resultHash", v.verdict from json_to_recordset(${JSON.stringify(votes)}::json) as v(round int, address text, "resultHash" text, verdict text)`.execute(tx);
    });
  }

  async results(orgId: string, id: string): Promise<ResultRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ResultRecord>`select round, signer_id as "signerId", sealed, reason from consensus_results where org_id = ${orgId} and consensus_id = ${id}`.execute(tx);
      return rows;
    });
  }

  /** Keeps what a neuron found; the first one counts. */
  async keepResult(orgId: string, id: string, result: ResultRecord): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await sql`insert into consensus_results (org_id, consensus_id, round, signer_id, sealed, reason) values (${orgId}, ${id}, ${result.round}, ${result.signerId}, ${result.sealed}, ${result.reason}) on conflict do nothing`.execute(tx);
    });
  }
}
