import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import type { AccessExportState, ExportedTable } from '../schemas/privacy/access-export.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { RequestRows } from './request-rows.ts';

export interface AccessExportTables {
  access_exports: {
    org_id: string;
    id: string;
    subjects: Buffer[];
    state: AccessExportState;
    verification: string;
    requested_at: Timestamp;
    requested_by: string;
    keep_days: number;
    sealed: Buffer | null;
    reasons: Generated<string[]>;
    contents: ColumnType<ExportedTable[], string | undefined, string>;
    blob: string | null;
    bytes: number | null;
    ready_at: ColumnType<Date | null, never, Date>;
    expires_at: ColumnType<Date | null, never, Date>;
    downloads: Generated<number>;
  };
}

export interface AccessExportRecord {
  readonly id: string;
  /** Keyed hashes of the identities. */
  readonly subjects: readonly Buffer[];
  readonly state: AccessExportState;
  readonly verification: string;
  readonly requestedAt: Date;
  readonly requestedBy: string;
  readonly keepDays: number;
  /** Null once it is ready. */
  readonly sealed: Buffer | null;
  readonly reasons: readonly string[];
  readonly contents: readonly ExportedTable[];
  readonly blob: string | null;
  readonly bytes: number | null;
  readonly readyAt: Date | null;
  readonly expiresAt: Date | null;
  readonly downloads: number;
}

/** Copies handed out to people: no row names anybody. */
export class AccessExportStore {
  readonly #database: Database;
  readonly #rows: RequestRows<Selectable<AccessExportTables['access_exports']>, AccessExportRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new RequestRows(database, 'access_exports', fromRow);
  }

  async insert(orgId: string, draft: Pick<AccessExportRecord, 'id' | 'subjects' | 'verification' | 'requestedBy' | 'keepDays'> & { sealed: Buffer }, act: Act): Promise<AccessExportRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { id, subjects, verification, requestedBy, keepDays, sealed } = draft;
      const row = await tx.insertInto('access_exports').values({ org_id: orgId, id, subjects: [...subjects], state: 'requested', verification, requested_by: requestedBy, keep_days: keepDays, sealed }).returningAll().executeTakeFirstOrThrow();
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  async find(orgId: string, id: string): Promise<AccessExportRecord | undefined> {
    return this.#rows.find(orgId, id);
  }

  /** Latest first. @param before (requested, id) of the last of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<AccessExportRecord[]> {
    return this.#rows.list(orgId, limit, before);
  }

  async move(orgId: string, id: string, state: 'collecting' | 'blocked', reasons: readonly string[]): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('access_exports').set({ state, reasons: [...reasons] }).where('id', '=', id).where('ready_at', 'is', null).where('state', '<>', 'expired').execute();
    });
  }

  /** Can be fetched from now on; who it is is forgotten. @returns false when it was ready before. */
  async ready(orgId: string, id: string, done: { contents: readonly ExportedTable[]; blob: string; bytes: number; at: Date; expiresAt: Date }, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('access_exports')
        .set({ state: 'ready', reasons: [], contents: JSON.stringify(done.contents), blob: done.blob, bytes: done.bytes, ready_at: done.at, expires_at: done.expiresAt, sealed: null })
        .where('id', '=', id)
        .where('ready_at', 'is', null)
        .returning('id')
        .executeTakeFirst();
      if (row === undefined) return false;
      await recordAct(tx, act);
      return true;
    });
  }

  /** A link to it was made, or somebody fetched it. @returns undefined when there is nothing to fetch any more. */
  async handOut(orgId: string, id: string, kind: 'link' | 'download', act: Act): Promise<AccessExportRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('access_exports')
        .set({ downloads: sql`downloads + ${kind === 'download' ? 1 : 0}` })
        .where('id', '=', id)
        .where('state', '=', 'ready')
        .where('expires_at', '>', sql<Date>`now()`)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  /** An act about an export that changes nothing else. */
  async record(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }

  /** @returns the blob that is to be deleted; null when it was before. */
  async expire(orgId: string, id: string, act: Act): Promise<string | null> {
    return this.#database.withOrg(orgId, async (tx) => {
      const before = await tx.selectFrom('access_exports').select('blob').where('id', '=', id).where('state', '=', 'ready').forUpdate().executeTakeFirst();
      if (before === undefined) return null;
      await tx.updateTable('access_exports').set({ state: 'expired', blob: null }).where('id', '=', id).execute();
      await recordAct(tx, act);
      return before.blob;
    });
  }
}

function fromRow(row: Selectable<AccessExportTables['access_exports']>): AccessExportRecord {
  return {
    id: row.id, subjects: row.subjects, state: row.state, verification: row.verification, requestedAt: row.requested_at, requestedBy: row.requested_by, keepDays: row.keep_days,
    sealed: row.sealed, reasons: row.reasons, contents: row.contents, blob: row.blob, bytes: row.bytes, readyAt: row.ready_at, expiresAt: row.expires_at, downloads: row.downloads,
  };
}
