import type { ColumnType, Generated } from 'kysely';
import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface BrowserLiveTables {
  browser_live_views: { org_id: string; session_id: string; id: string; opened_at: Timestamp; expires_at: Date; seen_at: ColumnType<Date | null, Date | null | undefined, Date | null> };
  browser_live_frames: { org_id: string; session_id: string; seq: number; picture: Buffer; width: number; height: number; attended: boolean };
  browser_live_inputs: { org_id: string; session_id: string; seq: Generated<string>; events: Buffer };
}

/** The page of a session as it is now, sealed. */
export interface LiveFrame {
  readonly seq: number;
  readonly picture: Buffer;
  readonly width: number;
  readonly height: number;
  readonly attended: boolean;
}

/** A viewer that did not ask for so long is gone. */
const PRESENT = sql<Date>`now() - interval '15 seconds'`;
/** Inputs on their way at the most: a page that takes none must not fill the table. */
const MOST_INPUTS = 500;

/** What people see of a page that is open, and what they do to it. */
export class BrowserLiveViewStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Opens the view of a session; those that ended are forgotten. */
  async open(view: { orgId: string; sessionId: string; id: string; expiresAt: Date }, act: Act): Promise<void> {
    await this.#database.withOrg(view.orgId, async (tx) => {
      await tx.deleteFrom('browser_live_views').where('org_id', '=', view.orgId).where('session_id', '=', view.sessionId).where('expires_at', '<', new Date()).execute();
      await tx.insertInto('browser_live_views').values({ org_id: view.orgId, session_id: view.sessionId, id: view.id, expires_at: view.expiresAt }).execute();
      await recordAct(tx, act);
    });
  }

  /** Says that the viewer is there. Answers whether the view is open, and its session too. */
  async present(orgId: string, sessionId: string, id: string): Promise<boolean> {
    const found = await this.#database.withOrg(orgId, (tx) =>
      tx
        .updateTable('browser_live_views')
        .set({ seen_at: new Date() })
        .where('org_id', '=', orgId)
        .where('session_id', '=', sessionId)
        .where('id', '=', id)
        .where('expires_at', '>', new Date())
        .where((row) => row.exists(row.selectFrom('browser_sessions').select('id').where('org_id', '=', orgId).where('id', '=', sessionId).where('state', '=', 'open')))
        .returning('id')
        .executeTakeFirst(),
    );
    return found !== undefined;
  }

  /** Whether somebody looks at a session. */
  async watched(orgId: string, sessionId: string): Promise<boolean> {
    const found = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('browser_live_views').select('id').where('org_id', '=', orgId).where('session_id', '=', sessionId).where('seen_at', '>', PRESENT).where('expires_at', '>', new Date()).limit(1).executeTakeFirst());
    return found !== undefined;
  }

  /** Shows a page; it takes the place of what was shown before. */
  async show(orgId: string, sessionId: string, { picture, width, height, attended }: Omit<LiveFrame, 'seq'>): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .insertInto('browser_live_frames')
        .values({ org_id: orgId, session_id: sessionId, seq: 1, picture, width, height, attended })
        .onConflict((conflict) => conflict.columns(['org_id', 'session_id']).doUpdateSet((row) => ({ seq: row('browser_live_frames.seq', '+', 1), picture, width, height, attended })))
        .execute(),
    );
  }

  /** What is shown, when it is newer than what the viewer has. */
  async frame(orgId: string, sessionId: string, after: number): Promise<LiveFrame | undefined> {
    const frame = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('browser_live_frames').select(['seq', 'picture', 'width', 'height', 'attended']).where('org_id', '=', orgId).where('session_id', '=', sessionId).where('seq', '>', after).executeTakeFirst());
    return frame === undefined ? undefined : { ...frame, seq: Number(frame.seq) };
  }

  /** Sends what a viewer did. Answers false when too much is on its way. */
  async send(orgId: string, sessionId: string, events: Buffer): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { waiting } = await tx.selectFrom('browser_live_inputs').select(({ fn }) => fn.countAll<number>().as('waiting')).where('org_id', '=', orgId).where('session_id', '=', sessionId).executeTakeFirstOrThrow();
      if (Number(waiting) >= MOST_INPUTS) return false;
      await tx.insertInto('browser_live_inputs').values({ org_id: orgId, session_id: sessionId, events }).execute();
      return true;
    });
  }

  /** Takes what viewers did, in order. */
  async take(orgId: string, sessionId: string): Promise<Buffer[]> {
    const rows = await this.#database.withOrg(orgId, (tx) => tx.deleteFrom('browser_live_inputs').where('org_id', '=', orgId).where('session_id', '=', sessionId).returning(['seq', 'events']).execute());
    return rows.toSorted((one, other) => Number(one.seq) - Number(other.seq)).map(({ events }) => events);
  }

  /** Nothing of a page stays when nobody looks any more. */
  async clear(orgId: string, sessionId: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.deleteFrom('browser_live_frames').where('org_id', '=', orgId).where('session_id', '=', sessionId).execute();
      await tx.deleteFrom('browser_live_inputs').where('org_id', '=', orgId).where('session_id', '=', sessionId).execute();
    });
  }
}
