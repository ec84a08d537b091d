import pg from 'pg';

export interface LockPileUp {
  readonly holderPid: number;
  /** Settles when every waiter has got its lock, or failed. */
  readonly waiters: Promise<PromiseSettledResult<unknown>[]>;
  end(): Promise<void>;
}

/** One session idle in a transaction that holds a row, and several that wait for it. */
export async function lockPileUp(url: string, applicationName: string, waiters: number): Promise<LockPileUp> {
  const connect = async (name: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url, application_name: name });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const holder = await connect(applicationName);
  await holder.query('create table if not exists pile_up (id integer primary key, n integer not null)');
  await holder.query('insert into pile_up values (1, 0) on conflict do nothing');
  await holder.query('begin; update pile_up set n = n + 1 where id = 1');
  const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid');
  const clients = await Promise.all(Array.from({ length: waiters }, () => connect(`${applicationName}-waiter`)));
  const waiting = Promise.allSettled(clients.map((client) => client.query("update pile_up set n = n + 1 where id = 1 /* name = 'Jane' */")));
  return {
    holderPid: rows[0]?.pid ?? 0,
    waiters: waiting,
    async end() {
      await Promise.all([holder, ...clients].map((client) => client.end().catch(() => undefined)));
    },
  };
}
