import { sql } from 'kysely';
import type { ChainPolicy } from '../schemas/rest/chains.ts';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';

/** A chain as an organisation reaches it. */
export interface ChainRecord {
  readonly id: string;
  readonly name: string;
  /** EIP-155. */
  readonly chainId: number;
  /** Sealed. */
  readonly rpcUrls: Buffer;
  readonly rpcHosts: readonly string[];
  readonly policy: ChainPolicy;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Somebody who signs on a chain. */
export interface SignerRecord {
  readonly id: string;
  readonly chain: string;
  readonly chainId: number;
  readonly name: string;
  /** With the checksum of EIP-55. */
  readonly address: string;
  readonly keyKind: 'kept' | 'env' | 'file' | 'kms';
  readonly keyName: string | null;
  readonly sealedKey: Buffer | null;
  readonly trouble: string | null;
  readonly troubleDetail: string | null;
  readonly troubleSince: Date | null;
  readonly createdAt: Date;
}

export type NewChain = Omit<ChainRecord, 'version' | 'createdAt' | 'updatedAt'>;
export type NewSigner = Omit<SignerRecord, 'trouble' | 'troubleDetail' | 'troubleSince' | 'createdAt'>;

const CHAIN = sql.raw(`id, name, chain_id::float8 as "chainId", rpc_urls as "rpcUrls", rpc_hosts as "rpcHosts", policy, version, created_at as "createdAt", updated_at as "updatedAt"`);
const SIGNER = sql.raw(
  `id, chain, chain_id::float8 as "chainId", name, address, key_kind as "keyKind", key_name as "keyName", sealed_key as "sealedKey", trouble, trouble_detail as "troubleDetail", trouble_since as "troubleSince", created_at as "createdAt"`,
);

/** Chains and those who sign on them. */
export class ChainStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name; `after` is the last of the page before. */
  async chains(orgId: string, limit: number, after?: string): Promise<ChainRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ChainRecord>`select ${CHAIN} from chains where org_id = ${orgId} and name > ${after ?? ''} order by name limit ${limit}`.execute(tx);
      return rows;
    });
  }

  async chain(orgId: string, id: string): Promise<ChainRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ChainRecord>`select ${CHAIN} from chains where org_id = ${orgId} and id = ${id}`.execute(tx);
      return rows[0];
    });
  }

  /** @returns undefined when the name is taken. */
  async insertChain(orgId: string, chain: NewChain, act: Act): Promise<ChainRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ChainRecord>`insert into chains (org_id, id, name, chain_id, rpc_urls, rpc_hosts, policy)
        values (${orgId}, ${chain.id}, ${chain.name}, ${chain.chainId}, ${chain.rpcUrls}, ${[...chain.rpcHosts]}, ${JSON.stringify(chain.policy)}) on conflict (org_id, name) do nothing returning ${CHAIN}`.execute(tx);
      if (rows[0] !== undefined) await recordAct(tx, act);
      return rows[0];
    });
  }

  /** The chain id stays: signers and what they sent belong to it. @returns undefined when another version is there by now, or the name is taken. */
  async changeChain(orgId: string, version: number, chain: NewChain, act: Act): Promise<ChainRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ChainRecord>`update chains set name = ${chain.name}, rpc_urls = ${chain.rpcUrls}, rpc_hosts = ${[...chain.rpcHosts]}, policy = ${JSON.stringify(chain.policy)}, version = version + 1, updated_at = now()
        where org_id = ${orgId} and id = ${chain.id} and version = ${version} and not exists (select from chains other where other.org_id = ${orgId} and other.name = ${chain.name} and other.id <> ${chain.id}) returning ${CHAIN}`.execute(tx);
      if (rows[0] !== undefined) await recordAct(tx, act);
      return rows[0];
    });
  }

  /** By name; `after` is the last of the page before. */
  async signers(orgId: string, limit: number, after?: string): Promise<SignerRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<SignerRecord>`select ${SIGNER} from chain_signers where org_id = ${orgId} and name > ${after ?? ''} order by name limit ${limit}`.execute(tx);
      return rows;
    });
  }

  async signer(orgId: string, id: string): Promise<SignerRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<SignerRecord>`select ${SIGNER} from chain_signers where org_id = ${orgId} and id = ${id}`.execute(tx);
      return rows[0];
    });
  }

  /** @returns undefined when the name is taken, or the address signs on that chain already. */
  async insertSigner(orgId: string, signer: NewSigner, act: Act): Promise<SignerRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<SignerRecord>`insert into chain_signers (org_id, id, chain, chain_id, name, address, key_kind, key_name, sealed_key)
        values (${orgId}, ${signer.id}, ${signer.chain}, ${signer.chainId}, ${signer.name}, ${signer.address}, ${signer.keyKind}, ${signer.keyName}, ${signer.sealedKey}) on conflict do nothing returning ${SIGNER}`.execute(tx);
      if (rows[0] !== undefined) await recordAct(tx, act);
      return rows[0];
    });
  }

  /** Notes what holds a signer up, or that nothing does any more. */
  async noteTrouble(orgId: string, id: string, trouble: { readonly type: string; readonly detail: string } | null): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await sql`update chain_signers set trouble = ${trouble?.type ?? null}, trouble_detail = ${trouble?.detail ?? null},
        trouble_since = case when ${trouble?.type ?? null}::text is null then null when trouble = ${trouble?.type ?? null} then trouble_since else now() end
        where org_id = ${orgId} and id = ${id} and (trouble is distinct from ${trouble?.type ?? null} or trouble_detail is distinct from ${trouble?.detail ?? null})`.execute(tx);
    });
  }
}
