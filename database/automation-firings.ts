import type pg from 'pg';
import { sql } from 'kysely';
import type { MappedEffect } from '../schemas/automations/definition.ts';
import { storableJson } from './cascade-commit.ts';
import type { Database, Tx } from './database.ts';

/** Announces effects of automations that wait. */
export const AUTOMATIONS_CHANNEL = 'hal9_automations';

export type FiringState = 'pending' | 'fired' | 'skipped' | 'failed';

/** What an automation made of a signal, as the layer that saw it stores it. */
export interface NewFiring {
  readonly id: string;
  readonly automationId: string;
  readonly automationVersion: number;
  readonly signalKey: string;
  readonly signalType: string;
  /** Signals of the batch this row stands for. */
  readonly signals: number;
  readonly state: 'pending' | 'skipped' | 'failed';
  readonly reason: string | null;
  readonly effect: MappedEffect | null;
  readonly orderKey: number;
  /** The signal's own W3C trace context, if it carries one; else its chunk's counts. */
  readonly traceparent: string | null;
  /** The firing that sent the signal, if an automation did. */
  readonly parentId: string | null;
}

export interface FiringRecord {
  readonly id: string;
  readonly seq: number;
  readonly automationId: string;
  readonly automationVersion: number;
  readonly signalKey: string;
  readonly signalType: string;
  readonly signals: number;
  readonly state: FiringState;
  readonly reason: string | null;
  readonly effect: MappedEffect | null;
  readonly chain: readonly string[];
  readonly attempts: number;
  readonly runId: string | null;
  readonly emittedKey: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

export interface DueFiring extends FiringRecord {
  readonly orgId: string;
  readonly orderKey: number;
  readonly effect: MappedEffect;
}

const ROWS_PER_INSERT = 5000;
/** Ancestors kept of a chain; loops are far shorter. */
const CHAIN_KEPT = 64;
/** Seconds entries are left to the process that took them; then another may try. Longer than any one run of a key. */
const LEASE_SECONDS = 60;
/** Heads of keys taken at once, and entries of each. */
const KEYS_AT_ONCE = 32;
const ENTRIES_PER_KEY = 50;

/**
 * Stores what automations made of a batch, in the transaction that decides it. A firing's effects carry its id as their trace id, so
 * the signal that came of another firing, directly or through a run, leads back to it and inherits its chain.
 */
export async function insertFirings(client: pg.ClientBase, firings: readonly NewFiring[]): Promise<void> {
  for (let from = 0; from < firings.length; from += ROWS_PER_INSERT) {
    await client.query(
      `with rows as (
         select * from json_to_recordset($1::json) as f(id uuid, "automationId" uuid, "automationVersion" int, "signalKey" uuid, "signalType" text, signals int, state text, reason text,
           effect jsonb, "orderKey" int, traceparent text, "parentId" uuid, position int)
       ), traced as (
         select f.*, coalesce(f.traceparent, c.traceparent) as trace from rows f
         left join signal_keys k on f.state = 'pending' and k.org_id = hal9_org() and k.key = f."signalKey"
         left join chunks c on c.org_id = hal9_org() and c.id = k.chunk_id
       ), written as (
         insert into automation_firings (org_id, id, automation_id, automation_version, signal_key, signal_type, signals, state, reason, effect, order_key, chain, done_at)
         select hal9_org(), t.id, t."automationId", t."automationVersion", t."signalKey", t."signalType", t.signals, t.state, t.reason, nullif(t.effect, 'null'), t."orderKey",
           case when p.id is null then '{}' else (p.chain || p.automation_id)[greatest(1, cardinality(p.chain) + 2 - ${String(CHAIN_KEPT)}):] end, case when t.state <> 'pending' then now() end
         from traced t
         left join automation_firings p on p.org_id = hal9_org()
           and p.id = coalesce(t."parentId", case when t.trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then substring(t.trace from 4 for 32)::uuid end)
         order by t.position
         on conflict do nothing returning state
       ) select pg_notify('${AUTOMATIONS_CHANNEL}', '') where exists (select from written where state = 'pending')`,
      [storableJson(firings.slice(from, from + ROWS_PER_INSERT).map((firing, position) => ({ ...firing, position })))],
    );
  }
}

/** Firings of all organisations, as hal9_system: their effects leave through whichever dispatcher comes first. */
export class FiringStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Takes the next entries of keys that nobody works on, in their order, for a try each. */
  async takeAcrossOrganisations(): Promise<DueFiring[]> {
    return this.#database.system.transaction().execute(async (tx) => {
      const { rows } = await sql<DueFiring>`
        with heads as (
          select f.org_id, f.automation_id, f.order_key, f.seq from automation_firings f
          where f.state = 'pending' and f.next_at <= now() and not exists (
            select from automation_firings e where e.state = 'pending' and e.org_id = f.org_id and e.automation_id = f.automation_id and e.order_key = f.order_key and e.seq < f.seq)
          order by f.next_at limit ${KEYS_AT_ONCE} for update skip locked
        ), due as (
          select n.org_id, n.id from heads h cross join lateral (
            select e.org_id, e.id from automation_firings e
            where e.state = 'pending' and e.org_id = h.org_id and e.automation_id = h.automation_id and e.order_key = h.order_key and e.seq >= h.seq order by e.seq limit ${ENTRIES_PER_KEY}) n
        )
        update automation_firings f set next_at = now() + make_interval(secs => ${LEASE_SECONDS}) from due where f.org_id = due.org_id and f.id = due.id
        returning f.org_id as "orgId", f.order_key as "orderKey", ${COLUMNS}`.execute(tx);
      return rows.sort((a, b) => a.seq - b.seq);
    });
  }

  /** How an entry ended. @returns false when it had ended before. */
  async settle(orgId: string, id: string, outcome: { readonly state: 'fired' | 'skipped' | 'failed'; readonly reason?: string; readonly runId?: string; readonly emittedKey?: string }): Promise<boolean> {
    return this.#database.withOrg(orgId, (tx) => settleFiring(tx, orgId, id, outcome));
  }

  /** The try failed; it and those after it of the same key wait. */
  async retry(orgId: string, ids: readonly string[], reason: string, afterSeconds: number): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      sql`update automation_firings set next_at = now() + make_interval(secs => ${afterSeconds}), reason = ${reason}, attempts = attempts + 1
        where org_id = ${orgId} and id = any(${ids}::uuid[]) and state = 'pending'`.execute(tx),
    );
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(orgId: string, automationId: string, filter: { readonly state?: FiringState }, limit: number, before?: number): Promise<FiringRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<FiringRecord>`select ${COLUMNS} from automation_firings f where f.org_id = ${orgId} and f.automation_id = ${automationId}
        and (${filter.state ?? null}::text is null or f.state = ${filter.state ?? null}) and (${before ?? null}::bigint is null or f.seq < ${before ?? null}) order by f.seq desc limit ${limit}`.execute(tx);
      return rows;
    });
  }

  /** Removes what ended before so many days. @returns how many rows went. */
  async forgetAcrossOrganisations(days: number): Promise<number> {
    const { numAffectedRows } = await sql`delete from automation_firings where created_at < now() - make_interval(days => ${days}) and state <> 'pending'`.execute(this.#database.system);
    return Number(numAffectedRows ?? 0n);
  }
}

export async function settleFiring(tx: Tx, orgId: string, id: string, outcome: { readonly state: 'fired' | 'skipped' | 'failed'; readonly reason?: string; readonly runId?: string; readonly emittedKey?: string }): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update automation_firings set state = ${outcome.state}, reason = ${outcome.reason ?? null}, run_id = ${outcome.runId ?? null}, emitted_key = ${outcome.emittedKey ?? null}::uuid, done_at = now()
    where org_id = ${orgId} and id = ${id} and state = 'pending'`.execute(tx);
  return numAffectedRows === 1n;
}

const COLUMNS = sql.raw(`f.id, f.seq::float8 as seq, f.automation_id as "automationId", f.automation_version as "automationVersion", f.signal_key as "signalKey", f.signal_type as "signalType", f.signals, f.state,
  f.reason, f.effect, f.chain, f.attempts, f.run_id as "runId", f.emitted_key as "emittedKey", f.created_at as "createdAt", f.done_at as "doneAt"`);
