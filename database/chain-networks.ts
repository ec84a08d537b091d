import { sql } from 'kysely';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';

/** HAL9's contracts on a chain. Addresses have the checksum of EIP-55. */
export interface NetworkRecord {
  readonly id: string;
  readonly chain: string;
  readonly name: string;
  readonly token: string;
  readonly registry: string;
  readonly market: string;
  readonly anchor: string;
  readonly governance: string | null;
  readonly timelock: string | null;
  readonly createdAt: Date;
}

export type NewNetwork = Omit<NetworkRecord, 'createdAt'>;

const COLUMNS = sql.raw('id, chain, name, token, registry, market, anchor, governance, timelock, created_at as "createdAt"');

/** Networks of an organisation. */
export class ChainNetworkStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name; `after` is the last of the page before. */
  async list(orgId: string, limit: number, after?: string): Promise<NetworkRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<NetworkRecord>`select ${COLUMNS} from chain_networks where org_id = ${orgId} and name > ${after ?? ''} order by name limit ${limit}`.execute(tx);
      return rows;
    });
  }

  async find(orgId: string, id: string): Promise<NetworkRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<NetworkRecord>`select ${COLUMNS} from chain_networks where org_id = ${orgId} and id = ${id}`.execute(tx);
      return rows[0];
    });
  }

  /** @returns the network with this id, whoever wrote it; undefined when the name is taken by another one. */
  async insert(orgId: string, network: NewNetwork, act: Act): Promise<NetworkRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { id, chain, name, token, registry, market, anchor, governance, timelock } = network;
      const { rows } = await sql<NetworkRecord>`insert into chain_networks (org_id, id, chain, name, token, registry, market, anchor, governance, timelock)
        values (${orgId}, ${id}, ${chain}, ${name}, ${token}, ${registry}, ${market}, ${anchor}, ${governance}, ${timelock}) on conflict do nothing returning ${COLUMNS}`.execute(tx);
      const [made] = rows;
      if (made !== undefined) {
        await recordAct(tx, act);
        return made;
      }
      const there = await sql<NetworkRecord>`select ${COLUMNS} from chain_networks where org_id = ${orgId} and id = ${id}`.execute(tx);
      return there.rows[0];
    });
  }
}
