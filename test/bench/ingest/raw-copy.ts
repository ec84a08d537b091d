import { once } from 'node:events';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

/** What COPY alone does with the rows the ingest has just written: the limit a bench compares with. */
export class RawCopy {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** The rows of these chunks as COPY writes them, in parts of about 64 KiB. @param afterChunk rows of chunks beyond this id. */
  async rowsAfter(afterChunk: number): Promise<Buffer[]> {
    return this.#connected(async (client) => {
      const parts: Buffer[] = [];
      const copy = client.query(copyTo(`copy (select * from signals where chunk_id > ${Math.trunc(afterChunk)} order by chunk_id, ordinal) to stdout`));
      for await (const part of copy) if (Buffer.isBuffer(part)) parts.push(part);
      // Cut at row ends, so that the parts can go over several connections.
      return cutAtRows(Buffer.concat(parts));
    });
  }

  async highestChunk(): Promise<number> {
    return this.#connected(async (client) => {
      const { rows } = await client.query<{ id: number }>('select coalesce(max(id), 0)::float8 as id from chunks');
      return rows[0]?.id ?? 0;
    });
  }

  /**
   * Copies the rows into an empty table with the columns and the primary key of `signals`.
   * @returns rows a second, from the first byte to the last commit.
   */
  async rowsPerSecond(parts: readonly Buffer[], connections: number): Promise<number> {
    return this.#connected(async (client) => {
      await client.query('drop table if exists raw_copy; create table raw_copy (like signals including defaults, primary key (org_id, received_on, chunk_id, ordinal))');
      const clients = await Promise.all(Array.from({ length: connections }, () => this.#connect()));
      const share = Math.ceil(parts.length / connections);
      const began = performance.now();
      await Promise.all(clients.map((each, index) => copyIn(each, parts.slice(index * share, (index + 1) * share))));
      const seconds = (performance.now() - began) / 1000;
      await Promise.all(clients.map((each) => each.end()));
      const { rows } = await client.query<{ count: number }>('select count(*)::int as count from raw_copy');
      await client.query('drop table raw_copy');
      return (rows[0]?.count ?? 0) / seconds;
    });
  }

  async #connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.#url, connectionTimeoutMillis: 10_000 });
    await client.connect();
    return client;
  }
}

async function copyIn(client: pg.Client, parts: readonly Buffer[]): Promise<void> {
  const copy = client.query(copyFrom('copy raw_copy from stdin'));
  const finished = once(copy, 'finish');
  for (const part of parts) if (!copy.write(part)) await once(copy, 'drain');
  copy.end();
  await finished;
}

function cutAtRows(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(0x0a, Math.min(bytes.length - 1, start + 65_536));
    const cut = end === -1 ? bytes.length : end + 1;
    parts.push(bytes.subarray(start, cut));
    start = cut;
  }
  return parts;
}
