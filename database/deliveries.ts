import { sql } from 'kysely';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';

/** Announces messages for outgoing webhooks. */
export const WEBHOOKS_CHANNEL = 'hal9_webhooks';

export type MessageState = 'pending' | 'delivered' | 'failed' | 'abandoned';

/** A message for one endpoint. */
export interface MessageRecord {
  readonly id: string;
  readonly seq: number;
  readonly endpointId: string;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly state: MessageState;
  readonly attempts: number;
  readonly nextAt: Date;
  readonly lastFailure: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

export interface AttemptRecord {
  readonly at: Date;
  readonly httpStatus: number | null;
  readonly failure: string | null;
  readonly durationMs: number;
}

/** What follows from an attempt. `waitSeconds` undefined: no further one. */
export type AttemptOutcome = { readonly delivered: true } | { readonly delivered: false; readonly waitSeconds: number | undefined };

/** Age at which a message that its run seems to have missed is announced again, seconds. */
const OVERDUE_SECONDS = 60;

/** Messages to endpoints and the attempts to deliver them. */
export class DeliveryStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Endpoints whose runs must hear of messages. The rows count as announced; {@link unannounce} takes that back. */
  async announceAcrossOrganisations(): Promise<{ readonly orgId: string; readonly endpointId: string }[]> {
    const { rows } = await sql<{ orgId: string; endpointId: string }>`
      with told as (
        update webhook_messages set announced = true
        where state = 'pending' and (org_id, id) in (select org_id, id from webhook_messages where state = 'pending' and not announced order by next_at limit 5000 for update skip locked)
        returning org_id, endpoint_id
      ), late as (
        select m.org_id, m.endpoint_id from webhook_messages m join webhook_endpoints e on e.org_id = m.org_id and e.id = m.endpoint_id
        where m.state = 'pending' and m.next_at < now() - make_interval(secs => ${OVERDUE_SECONDS}) and coalesce(e.open_until, m.next_at) < now() - make_interval(secs => ${OVERDUE_SECONDS}) limit 1000
      ) select distinct org_id as "orgId", endpoint_id as "endpointId" from (table told union all table late) both_kinds`.execute(this.#database.system);
    return rows;
  }

  /** Its run could not be told. */
  async unannounceAcrossOrganisations(orgId: string, endpointId: string): Promise<void> {
    await sql`update webhook_messages set announced = false where org_id = ${orgId} and endpoint_id = ${endpointId} and state = 'pending'`.execute(this.#database.system);
  }

  /** What is due for the endpoint, oldest first. */
  async due(orgId: string, endpointId: string, limit: number): Promise<MessageRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<MessageRecord>`select ${COLUMNS} from webhook_messages where org_id = ${orgId} and endpoint_id = ${endpointId} and state = 'pending' and next_at <= now() order by seq limit ${limit}`.execute(tx);
      return rows;
    });
  }

  /** How many messages wait for the endpoint, and in how many milliseconds the first is due; null when none waits. */
  async waiting(orgId: string, endpointId: string): Promise<{ readonly count: number; readonly inMs: number | null }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ count: number; inMs: number | null }>`
        select count(*)::int as count, (extract(epoch from min(next_at) - clock_timestamp()) * 1000)::float8 as "inMs" from webhook_messages where org_id = ${orgId} and endpoint_id = ${endpointId} and state = 'pending'`.execute(tx);
      return rows[0] ?? { count: 0, inMs: null };
    });
  }

  /** Notes an attempt and what follows from it, in one transaction. */
  async noteAttempt(orgId: string, id: string, attempt: Omit<AttemptRecord, 'at'>, outcome: AttemptOutcome): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await sql`insert into webhook_attempts (org_id, message_id, http_status, failure, duration_ms) values (${orgId}, ${id}, ${attempt.httpStatus}, ${attempt.failure}, ${Math.round(attempt.durationMs)})`.execute(tx);
      const state: MessageState = outcome.delivered ? 'delivered' : outcome.waitSeconds === undefined ? 'failed' : 'pending';
      const wait = outcome.delivered ? 0 : (outcome.waitSeconds ?? 0);
      await sql`update webhook_messages set state = ${state}, attempts = attempts + 1, last_failure = ${attempt.failure}, next_at = now() + make_interval(secs => ${wait}),
        done_at = case when ${state} = 'pending' then null else now() end where org_id = ${orgId} and id = ${id} and state = 'pending'`.execute(tx);
    });
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(orgId: string, filter: { readonly endpointId?: string; readonly state?: MessageState }, limit: number, before?: number): Promise<MessageRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<MessageRecord>`select ${COLUMNS} from webhook_messages where org_id = ${orgId} and (${filter.endpointId ?? null}::uuid is null or endpoint_id = ${filter.endpointId ?? null}::uuid)
        and (${filter.state ?? null}::text is null or state = ${filter.state ?? null}) and (${before ?? null}::bigint is null or seq < ${before ?? null}) order by seq desc limit ${limit}`.execute(tx);
      return rows;
    });
  }

  async find(orgId: string, id: string): Promise<{ readonly message: MessageRecord; readonly attempts: readonly AttemptRecord[] } | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      // One statement, so that the message and its attempts are of one moment.
      const { rows } = await sql<MessageRecord & { attemptAt: Date | null; httpStatus: number | null; attemptFailure: string | null; durationMs: number }>`
        select m.*, a.at as "attemptAt", a.http_status as "httpStatus", a.failure as "attemptFailure", a.duration_ms as "durationMs"
        from (select ${COLUMNS} from webhook_messages where org_id = ${orgId} and id = ${id}) m left join webhook_attempts a on a.org_id = ${orgId} and a.message_id = m.id order by a.at`.execute(tx);
      const [first] = rows;
      if (first === undefined) return undefined;
      const { attemptAt: _at, httpStatus: _status, attemptFailure: _failure, durationMs: _duration, ...message } = first;
      const attempts = rows.flatMap(({ attemptAt, httpStatus, attemptFailure, durationMs }) => (attemptAt === null ? [] : [{ at: attemptAt, httpStatus, failure: attemptFailure, durationMs }]));
      return { message, attempts };
    });
  }

  /** Has a message delivered again from the beginning of the schedule. @returns whether it was there and its endpoint is on. */
  async redeliver(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numAffectedRows } = await sql`update webhook_messages m set state = 'pending', attempts = 0, announced = false, next_at = now(), done_at = null from webhook_endpoints e
        where m.org_id = ${orgId} and m.id = ${id} and e.org_id = m.org_id and e.id = m.endpoint_id and e.enabled`.execute(tx);
      if (numAffectedRows !== 1n) return false;
      await sql`select pg_notify(${WEBHOOKS_CHANNEL}, '')`.execute(tx);
      await recordAct(tx, act);
      return true;
    });
  }

  /** Writes a message for one endpoint, whatever events it wants. */
  async insert(orgId: string, id: string, endpointId: string, type: string, data: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await sql`insert into webhook_messages (org_id, id, endpoint_id, type, data) values (${orgId}, ${id}, ${endpointId}, ${type}, ${JSON.stringify(data)})`.execute(tx);
      await sql`select pg_notify(${WEBHOOKS_CHANNEL}, '')`.execute(tx);
    });
  }

  /** Removes messages that ended before so many days. */
  async forgetAcrossOrganisations(days: number): Promise<void> {
    await sql`delete from webhook_messages where created_at < now() - make_interval(days => ${days}) and state <> 'pending'`.execute(this.#database.system);
  }
}

const COLUMNS = sql.raw(`id, seq::float8 as seq, endpoint_id as "endpointId", type, data, state, attempts, next_at as "nextAt", last_failure as "lastFailure", created_at as "createdAt", done_at as "doneAt"`);
