import pg from 'pg';

/**
 * A fault of the demo: one session updates a row and goes idle in its transaction, four others want the same row. Takes the connection
 * string from DATABASE_URL and the beginning of its sessions' names as its argument; says `ready`, then `free` once every waiter got through.
 */
const END_MS = 120_000;

const application = process.argv[2];
if (application === undefined) throw new Error('say how the sessions are called');

async function connect(role: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: process.env['DATABASE_URL'], application_name: `${application} ${role}` });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

const holder = await connect('holder');
await holder.query('create table if not exists demo_pile_up (id integer primary key, n integer not null)');
await holder.query('insert into demo_pile_up values (1, 0) on conflict do nothing');
await holder.query('begin');
await holder.query('update demo_pile_up set n = n + 1 where id = 1');
const waiters = await Promise.all([1, 2, 3, 4].map((n) => connect(`waiter ${n}`)));
const waiting = waiters.map((waiter) => waiter.query('update demo_pile_up set n = n + 1 where id = 1'));
setTimeout(() => process.exit(0), END_MS);
process.stdout.write('ready\n');
await Promise.all(waiting);
process.stdout.write('free\n');
