import { sql } from 'kysely';
import type { Database } from './database.ts';

/** Across all organisations, as hal9_system: what the dispatcher opens and looks after. */

/** The lane of batches that carry no signals and only let due windows close. */
export const CLOCK_LANE = -1;

export interface OpenedBatch {
  readonly orgId: string;
  readonly id: string;
  readonly lane: number;
  readonly mode: 'batch' | 'interactive' | 'clock';
  readonly traceparent: string | null;
  /** Times it was started anew after a cascade ended without deciding it. */
  readonly attempts: number;
}

export interface OpenOptions {
  /** Most signals of a batch; a single larger chunk is a batch of its own. */
  readonly batchSignals: number;
  /** One fresh id for each lane that may be opened by this call. */
  readonly batchIds: readonly string[];
  /** Age after which a waiting caller's chunk counts as given up, seconds. */
  readonly interactiveGraceSeconds: number;
  /** Least time from one batch of a lane to its next, milliseconds. */
  readonly restMs: number;
}

/** Lanes with waiting chunks, by skipping from lane to lane in the index: what is idle costs nothing, however many lanes there are. */
const WAITING_LANES = sql`recursive waiting_lanes (org_id, lane) as (
    (select org_id, lane from chunks where batch_id is null order by org_id, lane limit 1)
    union all
    select n.org_id, n.lane from waiting_lanes w cross join lateral (
      select org_id, lane from chunks where batch_id is null and (org_id, lane) > (w.org_id, w.lane) order by org_id, lane limit 1
    ) n
  )`;
/** Most chunks of a batch: many small chunks must not make one statement long. */
const CHUNKS_PER_BATCH = 2000;

/**
 * A lane rests after a batch: a millisecond for each of its signals, at least `restMs`, at most a second. Where signals stream in, batches grow
 * instead of becoming many, because each costs the same few starts and commits whatever its size; and those who wait for an answer
 * find the machine free. The first signal after a pause is taken at once.
 */
const restingLane = (restMs: number) => sql`exists (
  select from batches b where b.org_id = l.org_id and b.lane = l.lane and b.mode = 'batch'
    and b.opened_at > now() - make_interval(secs => greatest(least(b.signals, 1000), ${restMs}::int) / 1000.0)) and ${restMs}::int > 0`;

export class OpenBatchStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Gives each free lane with waiting chunks a batch of them, in order. Lanes that another dispatcher is about to open are
   * skipped; a lane that has an open batch waits for it.
   */
  async open(options: OpenOptions): Promise<OpenedBatch[]> {
    const { batchSignals, batchIds, interactiveGraceSeconds, restMs } = options;
    const ready = sql`(c.mode = 'batch' or c.received_at < now() - make_interval(secs => ${interactiveGraceSeconds}))`;
    const freeLanes = sql<{ org_id: string; lane: number }>`
      with ${WAITING_LANES}
      select l.org_id, l.lane from waiting_lanes w join lanes l on l.org_id = w.org_id and l.lane = w.lane
      where l.open_batch is null and l.lane >= 0 and not (${restingLane(restMs)})
        and exists (select from chunks c where c.org_id = l.org_id and c.lane = l.lane and c.batch_id is null and ${ready})
      limit ${batchIds.length}`;
    // Most looks find lanes that rest: those cost one statement that is planned once.
    const { sql: text, parameters } = freeLanes.compile(this.#database.system);
    const { rowCount } = await this.#database.systemPool.query({ name: 'batches-free-lanes', text, values: [...parameters] });
    if (rowCount === 0) return [];
    return this.#database.system.transaction().execute(async (tx) => {
      const { rows: free } = await sql<{ org_id: string; lane: number }>`${freeLanes} for update of l skip locked`.execute(tx);
      if (free.length === 0) return [];
      // A second statement, so that it sees every chunk taken before the locks were had.
      const { rows } = await sql<OpenedBatch>`
        with numbered as (
          select * from unnest(${free.map((lane) => lane.org_id)}::uuid[], ${free.map((lane) => lane.lane)}::smallint[], ${batchIds.slice(0, free.length)}::uuid[]) as n (org_id, lane, id)
        ), waiting as (
          select n.org_id, n.lane, n.id as batch_id, c.id, c.signals, c.depth, c.traceparent,
            sum(c.signals) over lane_order as running, row_number() over lane_order as place, first_value(c.depth) over lane_order as first_depth
          from numbered n cross join lateral (
            select id, signals, depth, traceparent from chunks c where c.org_id = n.org_id and c.lane = n.lane and c.batch_id is null and ${ready}
            order by id limit ${CHUNKS_PER_BATCH}
          ) c window lane_order as (partition by n.org_id, n.lane order by c.id)
        ), fitting as (
          -- A chunk of another depth ends the batch, as does one beyond the limit; what follows stays behind it.
          select *, bool_and((running <= ${batchSignals} or place = 1) and depth = first_depth) over (partition by org_id, lane order by id) as fits from waiting
        ), opened as (
          insert into batches (org_id, id, lane, mode, depth, signals, traceparent)
          select org_id, batch_id, lane, 'batch', min(depth), sum(signals), (array_agg(traceparent order by id) filter (where traceparent is not null))[1]
          from fitting where fits group by org_id, batch_id, lane
          returning org_id, id, lane, mode, traceparent
        ), taken as (
          update chunks c set batch_id = f.batch_id from fitting f where f.fits and c.org_id = f.org_id and c.id = f.id
        ), held as (
          update lanes l set open_batch = o.id from opened o where l.org_id = o.org_id and l.lane = o.lane
        ) select org_id as "orgId", id, lane, mode, traceparent, 0 as attempts from opened`.execute(tx);
      return rows;
    });
  }

  /** Makes the lanes of waiting chunks that have none: the ingest makes them itself, so this is for rows of other hands. */
  async ensureLanes(): Promise<void> {
    await sql`
      with ${WAITING_LANES}
      insert into lanes (org_id, lane) select org_id, lane from waiting_lanes w
      where not exists (select from lanes l where l.org_id = w.org_id and l.lane = w.lane) on conflict do nothing`.execute(this.#database.system);
  }

  /**
   * Opens a batch without signals for each organisation whose neurons have a window due by the wall clock, unless one is open.
   * @param batchIds a fresh id for each; their number bounds how many are opened.
   * @param restSeconds least time between two such batches of an organisation.
   */
  async openClock(batchIds: readonly string[], restSeconds: number): Promise<OpenedBatch[]> {
    return this.#database.system.transaction().execute(async (tx) => {
      await sql`insert into lanes (org_id, lane) select distinct org_id, ${CLOCK_LANE}::smallint from neuron_states where due_at <= now() on conflict do nothing`.execute(tx);
      const { rows } = await sql<OpenedBatch>`
        with free as (
          select l.org_id from (select distinct org_id from neuron_states where due_at <= now()) due
            join lanes l on l.org_id = due.org_id and l.lane = ${CLOCK_LANE}
          where l.open_batch is null
            and not exists (select from batches b where b.org_id = l.org_id and b.lane = ${CLOCK_LANE} and b.opened_at > now() - make_interval(secs => ${restSeconds}))
          limit ${batchIds.length} for update of l skip locked
        ), opened as (
          insert into batches (org_id, id, lane, mode, signals)
          select f.org_id, i.id, ${CLOCK_LANE}::smallint, 'clock', 0 from (select org_id, row_number() over () as n from free) f
            join unnest(${[...batchIds]}::uuid[]) with ordinality as i (id, n) on i.n = f.n
          returning org_id, id, lane, mode, traceparent
        ), held as (
          update lanes l set open_batch = o.id from opened o where l.org_id = o.org_id and l.lane = o.lane
        ) select org_id as "orgId", id, lane, mode, traceparent, 0 as attempts from opened`.execute(tx);
      return rows;
    });
  }

  /** Notes that the cascades have begun. */
  async markStarted(batches: readonly Pick<OpenedBatch, 'orgId' | 'id'>[]): Promise<void> {
    if (batches.length === 0) return;
    await sql`
      update batches b set started_at = coalesce(b.started_at, now()) from unnest(${batches.map((batch) => batch.orgId)}::uuid[], ${batches.map((batch) => batch.id)}::uuid[]) as s (org_id, id)
      where b.org_id = s.org_id and b.id = s.id`.execute(this.#database.system);
  }

  /** Open batches whose start was never acknowledged: their dispatcher, or their caller's process, ended in between. */
  async unstarted(olderThanSeconds: number, limit: number): Promise<OpenedBatch[]> {
    const { rows } = await sql<OpenedBatch>`
      select org_id as "orgId", id, lane, mode, traceparent, attempts from batches
      where state = 'open' and started_at is null and opened_at < now() - make_interval(secs => ${olderThanSeconds})
      order by opened_at limit ${limit}`.execute(this.#database.system);
    return rows;
  }

  /**
   * Open batches that have run for long and were not looked at lately; marks them as looked at, so that several dispatchers
   * share them.
   */
  async claimOverdue(seconds: number, limit: number): Promise<OpenedBatch[]> {
    const { rows } = await sql<OpenedBatch>`
      update batches b set checked_at = now() from (
        select org_id, id from batches where state = 'open' and started_at < now() - make_interval(secs => ${seconds})
          and (checked_at is null or checked_at < now() - make_interval(secs => ${seconds}))
        order by opened_at limit ${limit} for update skip locked
      ) due where b.org_id = due.org_id and b.id = due.id
      returning b.org_id as "orgId", b.id, b.lane, b.mode, b.traceparent, b.attempts`.execute(this.#database.system);
    return rows;
  }

  /**
   * Counts a new start of a batch whose cascade ended without deciding it.
   * @returns the number of the attempt; undefined when the batch is decided by now.
   */
  async nextAttempt(batch: Pick<OpenedBatch, 'orgId' | 'id' | 'attempts'>): Promise<number | undefined> {
    const { rows } = await sql<{ attempts: number }>`
      update batches set attempts = attempts + 1 where org_id = ${batch.orgId} and id = ${batch.id} and state = 'open' and attempts = ${batch.attempts}
      returning attempts`.execute(this.#database.system);
    return rows[0]?.attempts;
  }

  /** What waits, for the metrics. `lagSeconds`: age of the oldest waiting chunk. */
  async backlog(): Promise<{ chunks: number; lagSeconds: number; openBatches: number }> {
    const { rows } = await sql<{ chunks: number; lagSeconds: number; openBatches: number }>`
      select count(*)::int as chunks, coalesce(extract(epoch from now() - min(received_at)), 0)::float8 as "lagSeconds",
        (select count(*)::int from batches where state = 'open') as "openBatches"
      from chunks where batch_id is null`.execute(this.#database.system);
    return rows[0] ?? { chunks: 0, lagSeconds: 0, openBatches: 0 };
  }
}
