import type { ExpressionBuilder, Generated } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import { holds, type SessionHold } from './browser-sessions.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface BrowserBaselineTables {
  browser_baselines: {
    org_id: string;
    id: string;
    flow: string;
    name: string;
    viewport: string;
    width: number;
    height: number;
    picture: string;
    run_id: string;
    step_key: string;
    accepted: Generated<boolean>;
    taken_at: Timestamp;
  };
}

/** Which baseline is meant. */
export interface BaselinePlace {
  readonly flow: string;
  readonly name: string;
  /** Size of the window and device pixels to each of its own, e.g. `1280x800@1`. */
  readonly viewport: string;
}

/** A picture that may be one. */
export interface BaselineDraft extends BaselinePlace {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  /** Blob of the PNG. */
  readonly picture: string;
  readonly runId: string;
  /** The execution of the step that took it. */
  readonly stepKey: string;
}

/** A picture that steps must be equal to. */
export interface BrowserBaseline extends BaselineDraft {
  /** Whether a person took it for right; else it was the first. */
  readonly accepted: boolean;
  readonly takenAt: Date;
}

const COLUMNS = ['id', 'flow', 'name', 'viewport', 'width', 'height', 'picture', 'run_id as runId', 'step_key as stepKey', 'accepted', 'taken_at as takenAt'] as const;

/** Pictures that steps of browser flows must be equal to. */
export class BrowserBaselineStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async find(orgId: string, place: BaselinePlace): Promise<BrowserBaseline | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('browser_baselines').select(COLUMNS).where(isAt(orgId, place)).executeTakeFirst());
  }

  async get(orgId: string, id: string): Promise<BrowserBaseline | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('browser_baselines').select(COLUMNS).where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst());
  }

  /** In the order of their ids. @param after id of the last of the page before. */
  async list(orgId: string, { flow }: { readonly flow?: string | undefined }, limit: number, after?: string): Promise<BrowserBaseline[]> {
    return this.#database.withOrg(orgId, (tx) => {
      let rows = tx.selectFrom('browser_baselines').select(COLUMNS).where('org_id', '=', orgId);
      if (flow !== undefined) rows = rows.where('flow', '=', flow);
      if (after !== undefined) rows = rows.where('id', '>', after);
      return rows.orderBy('id').limit(limit).execute();
    });
  }

  /**
   * Makes a picture the baseline where there is none, or where there is `instead` still, whose blob is gone.
   * @returns the one that counts now: of two pictures the first; undefined when the hold does not hold any more.
   */
  async create(hold: SessionHold, draft: BaselineDraft, instead: Pick<BrowserBaseline, 'id' | 'picture'> | undefined): Promise<BrowserBaseline | undefined> {
    const { orgId } = hold;
    return this.#database.withOrg(orgId, async (tx) => {
      if (!(await holds(tx, hold))) return undefined;
      if (instead !== undefined) await tx.deleteFrom('browser_baselines').where('org_id', '=', orgId).where('id', '=', instead.id).where('picture', '=', instead.picture).execute();
      await tx.insertInto('browser_baselines').values(rowOf(orgId, draft)).onConflict((conflict) => conflict.columns(['org_id', 'flow', 'name', 'viewport']).doNothing()).execute();
      return tx.selectFrom('browser_baselines').select(COLUMNS).where(isAt(orgId, draft)).executeTakeFirstOrThrow();
    });
  }

  /** Makes a picture the baseline, whatever was it before. @returns it, and the blob of the one before. */
  async accept(orgId: string, draft: BaselineDraft, actOf: (id: string) => Act): Promise<{ readonly baseline: BrowserBaseline; readonly before: string | undefined }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const known = await tx.selectFrom('browser_baselines').select('picture').where(isAt(orgId, draft)).forUpdate().executeTakeFirst();
      const { width, height, picture, runId, stepKey } = draft;
      const baseline = await tx
        .insertInto('browser_baselines')
        .values({ ...rowOf(orgId, draft), accepted: true })
        .onConflict((conflict) => conflict.columns(['org_id', 'flow', 'name', 'viewport']).doUpdateSet({ width, height, picture, run_id: runId, step_key: stepKey, accepted: true, taken_at: new Date() }))
        .returning(COLUMNS)
        .executeTakeFirstOrThrow();
      await recordAct(tx, actOf(baseline.id));
      return { baseline, before: known?.picture };
    });
  }

  /** Its blob is deleted before, so that none is left that nobody knows. Answers whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('browser_baselines').where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }
}

function isAt(orgId: string, { flow, name, viewport }: BaselinePlace) {
  return (row: ExpressionBuilder<BrowserBaselineTables, 'browser_baselines'>) => row.and({ org_id: orgId, flow, name, viewport });
}

function rowOf(orgId: string, { runId, stepKey, ...draft }: BaselineDraft) {
  return { org_id: orgId, ...draft, run_id: runId, step_key: stepKey };
}
