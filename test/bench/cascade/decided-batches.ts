import pg from 'pg';

const POLL_MS = 20;
const PATIENCE_MS = 300_000;

/** Watches from the database's side until everything that was accepted is decided. */
export class DecidedBatches {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(databaseUrl: string): Promise<DecidedBatches> {
    const client = new pg.Client({ connectionString: databaseUrl, application_name: 'hal9-bench' });
    await client.connect();
    // The owner too is subject to row-level security; this role sees all organisations.
    await client.query('set role hal9_system');
    return new DecidedBatches(client);
  }

  async close(): Promise<void> {
    await this.#client.end();
  }

  /** The place after which {@link allDecided} looks. */
  async mark(): Promise<number> {
    const { rows } = await this.#client.query<{ id: string | null }>('select max(id) as id from chunks');
    return Number(rows[0]?.id ?? 0);
  }

  /** Waits until this many signals after the mark are in decided batches. */
  async allDecided(mark: number, signals: number, abort: AbortSignal): Promise<{ decidedAt: Date; decisions: number; failed: number }> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      abort.throwIfAborted();
      const { rows } = await this.#client.query<{ waiting: number; signals: number; decided_at: Date | null; decisions: number; failed: number }>(
        `with mine as (select org_id, batch_id, sum(signals)::int as signals from chunks where id > $1 group by org_id, batch_id)
         select coalesce(sum(m.signals) filter (where b.state is null or b.state = 'open'), 0)::int as waiting, coalesce(sum(m.signals), 0)::int as signals,
           max(b.decided_at) as decided_at, coalesce(sum(b.decisions), 0)::int as decisions, (count(*) filter (where b.state = 'failed'))::int as failed
         from mine m left join batches b on b.org_id = m.org_id and b.id = m.batch_id`,
        [mark],
      );
      const row = rows[0];
      if (row !== undefined && row.waiting === 0 && row.signals === signals && row.decided_at !== null) return { decidedAt: row.decided_at, decisions: row.decisions, failed: row.failed };
      if (Date.now() > deadline) throw new Error(`${String(row?.waiting ?? signals)} signals are not decided after ${String(PATIENCE_MS / 1000)} s`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
