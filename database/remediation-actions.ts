import { sql } from 'kysely';
import type { ColumnType, Generated, Selectable } from 'kysely';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export type RemediationState = 'started' | 'done' | 'failed' | 'refused';

export interface RemediationTables {
  remediation_actions: {
    org_id: string;
    id: string;
    host_id: string;
    incident_id: string;
    workflow_id: string;
    step: number;
    cause: string;
    action: string;
    target: string;
    state: RemediationState;
    detail: Generated<string>;
    created_at: Timestamp;
    finished_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
  };
}

export interface RemediationAction {
  readonly id: string;
  readonly hostId: string;
  readonly incidentId: string;
  readonly workflowId: string;
  readonly step: number;
  readonly cause: string;
  readonly action: string;
  readonly target: string;
}

export interface RecordedAction extends RemediationAction {
  readonly state: RemediationState;
  readonly detail: string;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

/** How many actions a host may take. Refused ones do not count. */
export interface BlastRadius {
  readonly maxPerIncident: number;
  readonly maxPerHour: number;
}

export type Reservation =
  | { readonly kind: 'reserved' }
  /** An earlier attempt of the same step was here. */
  | { readonly kind: 'known'; readonly action: RecordedAction }
  | { readonly kind: 'limit'; readonly reason: string };

export interface RemediationFilter {
  readonly incidentId?: string | undefined;
  readonly hostId?: string | undefined;
  readonly workflowId?: string | undefined;
  readonly state?: RemediationState | undefined;
  readonly limit: number;
  /** The last action of the page before. */
  readonly after?: { readonly createdAt: Date; readonly id: string } | undefined;
}

/** The record of what host agents did, per organisation. */
export class RemediationActionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async find(orgId: string, id: string): Promise<RecordedAction | undefined> {
    const found = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('remediation_actions').selectAll().where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst());
    return found === undefined ? undefined : recorded(found);
  }

  /** Writes the intent before the effect, if the limits allow it; concurrent reservations of one host queue up. */
  async reserve(orgId: string, action: RemediationAction, limits: BlastRadius): Promise<Reservation> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`remediation/${orgId}/${action.hostId}`}, 0))`.execute(tx);
      const before = await tx.selectFrom('remediation_actions').selectAll().where('org_id', '=', orgId).where('id', '=', action.id).executeTakeFirst();
      if (before !== undefined) return { kind: 'known', action: recorded(before) };
      const taken = await tx
        .selectFrom('remediation_actions')
        .select([
          sql<number>`count(*) filter (where incident_id = ${action.incidentId})`.as('incident'),
          sql<number>`count(*) filter (where created_at > now() - interval '1 hour')`.as('hour'),
        ])
        .where('org_id', '=', orgId)
        .where('host_id', '=', action.hostId)
        .where('state', '<>', 'refused')
        .executeTakeFirstOrThrow();
      if (taken.incident >= limits.maxPerIncident) return { kind: 'limit', reason: `the limit of ${limits.maxPerIncident} actions for one incident is reached` };
      if (taken.hour >= limits.maxPerHour) return { kind: 'limit', reason: `the limit of ${limits.maxPerHour} actions in one hour is reached` };
      await tx.insertInto('remediation_actions').values({ ...row(orgId, action), state: 'started' }).execute();
      return { kind: 'reserved' };
    });
  }

  /** Records how a reserved action ended. */
  async finish(orgId: string, id: string, state: 'done' | 'failed', detail: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx.updateTable('remediation_actions').set({ state, detail, finished_at: new Date() }).where('org_id', '=', orgId).where('id', '=', id).where('state', '=', 'started').execute(),
    );
  }

  /** Records a refusal; repeating it changes nothing. */
  async refuse(orgId: string, action: RemediationAction, reason: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .insertInto('remediation_actions')
        .values({ ...row(orgId, action), state: 'refused', detail: reason, finished_at: new Date() })
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doNothing())
        .execute(),
    );
  }

  /** Newest first; `after` continues a page. */
  async list(orgId: string, filter: RemediationFilter): Promise<RecordedAction[]> {
    const { incidentId, hostId, workflowId, state, after, limit } = filter;
    const rows = await this.#database.withOrg(orgId, (tx) => {
      let select = tx.selectFrom('remediation_actions').selectAll().where('org_id', '=', orgId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (incidentId !== undefined) select = select.where('incident_id', '=', incidentId);
      if (hostId !== undefined) select = select.where('host_id', '=', hostId);
      if (workflowId !== undefined) select = select.where('workflow_id', '=', workflowId);
      if (state !== undefined) select = select.where('state', '=', state);
      if (after !== undefined) select = select.where(sql<boolean>`(created_at, id) < (${after.createdAt}, ${after.id})`);
      return select.execute();
    });
    return rows.map(recorded);
  }
}

function row(orgId: string, action: RemediationAction) {
  return {
    org_id: orgId,
    id: action.id,
    host_id: action.hostId,
    incident_id: action.incidentId,
    workflow_id: action.workflowId,
    step: action.step,
    cause: action.cause,
    action: action.action,
    target: action.target,
  };
}

type StoredAction = Selectable<RemediationTables['remediation_actions']>;

function recorded(stored: StoredAction): RecordedAction {
  return {
    id: stored.id,
    hostId: stored.host_id,
    incidentId: stored.incident_id,
    workflowId: stored.workflow_id,
    step: stored.step,
    cause: stored.cause,
    action: stored.action,
    target: stored.target,
    state: stored.state,
    detail: stored.detail,
    createdAt: stored.created_at,
    finishedAt: stored.finished_at,
  };
}
