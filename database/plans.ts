import { sql, type Generated } from 'kysely';
import { entitlementsOf, planOverridesSchema, type Entitlements, type PlanName, type PlanOverrides } from '../schemas/usage/plans.ts';
import type { Meter } from '../schemas/usage/meters.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { OpenRunPlaceTables } from './open-run-places.ts';
import type { Timestamp } from './organisations.ts';

export interface PlanTables extends OpenRunPlaceTables {
  organisation_plans: {
    org_id: string;
    plan: PlanName;
    overrides: Generated<unknown>;
    seats: number | null;
    api_keys: number | null;
    updated_at: Timestamp;
    updated_by: string;
  };
  usage_alerts: { org_id: string; meter: Meter; month: string; level: 'soft' | 'hard'; at: Timestamp };
}

export interface PlanRecord {
  readonly orgId: string;
  readonly plan: PlanName;
  readonly overrides: PlanOverrides;
  readonly entitlements: Entitlements;
  readonly updatedAt: Date;
  /** `<kind>:<id>`, or `default`. */
  readonly updatedBy: string;
}

export type QuotaLevel = 'soft' | 'hard';

/** Plans of organisations. Only the platform sets them, so writing is the cross-organisation role's. */
export class PlanStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The organisation's plan; `preset` becomes it where none was set yet. Undefined when there is no such organisation. */
  async ofAnyOrganisation(orgId: string, preset: PlanName): Promise<PlanRecord | undefined> {
    const row = await this.#database.system.selectFrom('organisation_plans').selectAll().where('org_id', '=', orgId).executeTakeFirst();
    if (row !== undefined) return record(row);
    const { limits } = entitlementsOf(preset);
    await sql`
      insert into organisation_plans (org_id, plan, seats, api_keys, updated_by)
      select org_id, ${preset}, ${limits.seats}::integer, ${limits.apiKeys}::integer, 'default' from organisations where org_id = ${orgId} on conflict do nothing`.execute(this.#database.system);
    const made = await this.#database.system.selectFrom('organisation_plans').selectAll().where('org_id', '=', orgId).executeTakeFirst();
    return made === undefined ? undefined : record(made);
  }

  /** What the organisation may use; undefined while no plan was set or given to it. */
  async entitlements(orgId: string): Promise<Entitlements | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('organisation_plans').selectAll().where('org_id', '=', orgId).executeTakeFirst();
      return row === undefined ? undefined : record(row).entitlements;
    });
  }

  async listAcrossOrganisations(): Promise<PlanRecord[]> {
    const rows = await this.#database.system.selectFrom('organisation_plans').selectAll().orderBy('org_id').execute();
    return rows.map(record);
  }

  /** Sets the plan of any organisation, with the acts. @returns undefined when there is no such organisation. */
  async setForAnyOrganisation(orgId: string, plan: PlanName, overrides: PlanOverrides, updatedBy: string, acts: readonly Act[]): Promise<PlanRecord | undefined> {
    const { limits } = entitlementsOf(plan, overrides);
    return this.#database.system.transaction().execute(async (tx) => {
      const known = await tx.selectFrom('organisations').select('org_id').where('org_id', '=', orgId).executeTakeFirst();
      if (known === undefined) return undefined;
      const row = await tx
        .insertInto('organisation_plans')
        .values({ org_id: orgId, plan, overrides: JSON.stringify(overrides), seats: limits.seats, api_keys: limits.apiKeys, updated_by: updatedBy })
        .onConflict((conflict) =>
          conflict.column('org_id').doUpdateSet({ plan, overrides: JSON.stringify(overrides), seats: limits.seats, api_keys: limits.apiKeys, updated_by: updatedBy, updated_at: sql<Date>`now()` }),
        )
        .returningAll()
        .executeTakeFirstOrThrow();
      for (const act of acts) await recordAct(tx, act);
      return record(row);
    });
  }

  /** Seats taken, keys that work and runs that are open (cascades apart). */
  async counts(orgId: string): Promise<{ seats: number; apiKeys: number; openRuns: number }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ seats: number; apiKeys: number; openRuns: number }>`
        select (select count(*) from users where org_id = ${orgId} and active) as seats,
          (select count(*) from api_keys where org_id = ${orgId} and revoked_at is null and (expires_at is null or expires_at > now())) as "apiKeys",
          (select count(*) from runs where org_id = ${orgId} and status = 'running' and origin <> 'dispatcher') as "openRuns"`.execute(tx);
      return rows[0] ?? { seats: 0, apiKeys: 0, openRuns: 0 };
    });
  }

  /** Quotas told in the month, as `<org>/<meter>/<level>`. */
  async alertsAcrossOrganisations(month: string): Promise<Set<string>> {
    const rows = await this.#database.system.selectFrom('usage_alerts').select(['org_id', 'meter', 'level']).where('month', '=', month).execute();
    return new Set(rows.map((row) => `${row.org_id}/${row.meter}/${row.level}`));
  }

  async markAlertOfAnyOrganisation(orgId: string, meter: Meter, month: string, level: QuotaLevel): Promise<void> {
    await this.#database.system.insertInto('usage_alerts').values({ org_id: orgId, meter, month, level }).onConflict((conflict) => conflict.doNothing()).execute();
  }
}

function record(row: { org_id: string; plan: PlanName; overrides: unknown; updated_at: Date; updated_by: string }): PlanRecord {
  const overrides = planOverridesSchema.parse(row.overrides);
  return { orgId: row.org_id, plan: row.plan, overrides, entitlements: entitlementsOf(row.plan, overrides), updatedAt: row.updated_at, updatedBy: row.updated_by };
}
