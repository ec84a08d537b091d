import type { Database } from './database.ts';

/** Rows that are there from the moment that their own time says, and are never given an earlier one. */
const COUNTED = { api_keys: 'created_at', connections: 'created_at', neurons: 'created_at', users: 'created_at', decisions: 'created_at', erasures: 'requested_at' } as const;

export type CountedTable = keyof typeof COUNTED;

/** Counts rows of one database so that they can be compared with those of an older copy. */
export class RestoredRowStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Rows of an organisation from before this time, by table. */
  async countUntil(orgId: string, until: Date): Promise<Readonly<Record<CountedTable, number>>> {
    return this.#database.withOrg(orgId, async (tx) => {
      const count = async (rows: Promise<{ rows: number | string | bigint }>): Promise<number> => Number((await rows).rows);
      return {
        api_keys: await count(tx.selectFrom('api_keys').select(({ fn }) => fn.countAll().as('rows')).where(COUNTED.api_keys, '<', until).executeTakeFirstOrThrow()),
        connections: await count(tx.selectFrom('connections').select(({ fn }) => fn.countAll().as('rows')).where(COUNTED.connections, '<', until).executeTakeFirstOrThrow()),
        neurons: await count(tx.selectFrom('neurons').select(({ fn }) => fn.countAll().as('rows')).where(COUNTED.neurons, '<', until).executeTakeFirstOrThrow()),
        users: await count(tx.selectFrom('users').select(({ fn }) => fn.countAll().as('rows')).where(COUNTED.users, '<', until).executeTakeFirstOrThrow()),
        decisions: await count(tx.selectFrom('decisions').select(({ fn }) => fn.countAll().as('rows')).where(COUNTED.decisions, '<', until).executeTakeFirstOrThrow()),
        erasures: await count(tx.selectFrom('erasures').select(({ fn }) => fn.countAll().as('rows')).where(COUNTED.erasures, '<', until).executeTakeFirstOrThrow()),
      };
    });
  }
}
