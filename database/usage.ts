import { sql } from 'kysely';
import { METERS, type Meter } from '../schemas/usage/meters.ts';
import type { Database } from './database.ts';
import { recordUsage, type Usage } from './usage-events.ts';

export type UsageStep = 'hour' | 'day' | 'month';

export interface UsageQuery {
  /** Inclusive. */
  readonly from: Date;
  /** Exclusive. */
  readonly to: Date;
  readonly step: UsageStep;
  readonly meter?: Meter | undefined;
}

export interface UsagePoint {
  readonly meter: Meter;
  /** Begin of the step, UTC. */
  readonly start: Date;
  readonly quantity: number;
}

/** Shared by the fold, taken alone by the closing of months: no use lands in an hour whose month is being closed. Any constant. */
export const MONTH_LOCK = 4_240_000_071;

/**
 * Meters whose cause is unique by itself (a chunk, a reservation): their rows go when they are folded. The keys of the others
 * stay for {@link KEY_DAYS}, because a retried activity or a rebuilt read model may come with them again.
 */
const UNIQUE_BY_CAUSE: readonly Meter[] = ['signals', 'tokens'];
/** Days for which the key of a folded use is remembered. */
export const KEY_DAYS = 7;

/** What was used, summed by hours; what is not folded yet counts too. */
export class UsageStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Writes a use of work that has no transaction of its own. */
  async record(usage: Usage): Promise<void> {
    await this.#database.withOrg(usage.orgId, (tx) => recordUsage(tx, usage));
  }

  /**
   * Adds up to `limit` uses to their hours, in one statement: a use is either waiting or counted, whenever the process dies. A use
   * that arrives after its month was closed counts in the first hour of the month that is open.
   * @returns uses folded; several processes fold different ones at once.
   */
  async foldAcrossOrganisations(limit: number): Promise<number> {
    return this.#database.system.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock_shared(${MONTH_LOCK})`.execute(tx);
      const { rows } = await sql<{ folded: number }>`
        with taken as materialized (
          select org_id, meter, key from usage_events where folded_at is null order by at limit ${limit} for update skip locked
        ), removed as (
          delete from usage_events e using taken t
          where e.org_id = t.org_id and e.meter = t.meter and e.key = t.key and t.meter = any(${[...UNIQUE_BY_CAUSE]}::text[])
          returning e.org_id, e.meter, e.quantity, e.at
        ), kept as (
          update usage_events e set folded_at = now() from taken t
          where e.org_id = t.org_id and e.meter = t.meter and e.key = t.key and t.meter <> all(${[...UNIQUE_BY_CAUSE]}::text[])
          returning e.org_id, e.meter, e.quantity, e.at
        ), uses as (
          select * from removed union all select * from kept
        ), open as (
          select org_id, (max(month) + interval '1 month') at time zone 'utc' as since from statements group by org_id
        ), sums as (
          select u.org_id, u.meter, greatest(date_trunc('hour', u.at, 'UTC'), o.since) as hour, sum(u.quantity) as quantity, count(*) as uses
          from uses u left join open o on o.org_id = u.org_id group by 1, 2, 3
        ), added as (
          insert into usage_hours as h (org_id, meter, hour, quantity)
          select org_id, meter, hour, quantity from sums order by org_id, meter, hour
          on conflict (org_id, meter, hour) do update set quantity = h.quantity + excluded.quantity
        ) select coalesce(sum(uses), 0)::int as folded from sums`.execute(tx);
      return rows[0]?.folded ?? 0;
    });
  }

  /** Forgets keys of uses folded more than {@link KEY_DAYS} ago. @returns how many. */
  async forgetKeysAcrossOrganisations(limit: number): Promise<number> {
    const { rows } = await sql<{ removed: number }>`
      with old as (
        select ctid from usage_events where folded_at < now() - make_interval(days => ${KEY_DAYS}) limit ${limit} for update skip locked
      ), removed as (delete from usage_events where ctid in (select ctid from old) returning 1)
      select count(*)::int as removed from removed`.execute(this.#database.system);
    return rows[0]?.removed ?? 0;
  }

  /** Sums by step, oldest first; steps without use are left out. */
  async series(orgId: string, query: UsageQuery): Promise<UsagePoint[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const meters = query.meter === undefined ? METERS : [query.meter];
      const { rows } = await sql<UsagePoint>`
        select meter, date_trunc(${query.step}, at, 'UTC') as start, sum(quantity)::bigint as quantity from (
          select meter, hour as at, quantity from usage_hours where org_id = ${orgId} and hour >= ${query.from} and hour < ${query.to}
          union all
          select meter, at, quantity from usage_events where org_id = ${orgId} and folded_at is null and at >= ${query.from} and at < ${query.to}
        ) as used where meter = any(${[...meters]}::text[]) group by 1, 2 order by 2, 1`.execute(tx);
      return rows;
    });
  }

  /** Sums of the organisation in a span; meters without use are 0. */
  async totals(orgId: string, from: Date, to: Date): Promise<Record<Meter, number>> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ meter: Meter; quantity: number }>`
        select meter, sum(quantity)::bigint as quantity from (
          select meter, quantity from usage_hours where org_id = ${orgId} and hour >= ${from} and hour < ${to}
          union all
          select meter, quantity from usage_events where org_id = ${orgId} and folded_at is null and at >= ${from} and at < ${to}
        ) as used group by 1`.execute(tx);
      return asRecord(rows);
    });
  }

  /** Sums of every organisation that used anything in the span. */
  async totalsAcrossOrganisations(from: Date, to: Date): Promise<Map<string, Record<Meter, number>>> {
    const { rows } = await sql<{ orgId: string; meter: Meter; quantity: number }>`
      select org_id as "orgId", meter, sum(quantity)::bigint as quantity from (
        select org_id, meter, quantity from usage_hours where hour >= ${from} and hour < ${to}
        union all
        select org_id, meter, quantity from usage_events where folded_at is null and at >= ${from} and at < ${to}
      ) as used group by 1, 2`.execute(this.#database.system);
    const byOrganisation = new Map<string, { meter: Meter; quantity: number }[]>();
    for (const row of rows) byOrganisation.set(row.orgId, [...(byOrganisation.get(row.orgId) ?? []), row]);
    return new Map([...byOrganisation].map(([orgId, list]) => [orgId, asRecord(list)]));
  }
}

function asRecord(rows: readonly { meter: Meter; quantity: number }[]): Record<Meter, number> {
  const totals: Record<Meter, number> = { 'runs': 0, 'signals': 0, 'tokens': 0, 'browser-seconds': 0, 'storage-byte-hours': 0, 'plugin-cpu-ms': 0 };
  for (const { meter, quantity } of rows) totals[meter] += quantity;
  return totals;
}
