import type { Database } from '../../database/database.ts';
import { RetentionReportStore, type RetentionReport } from '../../database/retention-reports.ts';
import { HalError } from '../../schemas/errors.ts';
import type { RetentionTable } from '../../schemas/privacy/retention.ts';
import type { Caller } from '../identity/caller.ts';

/** What runs of `retention` counted and deleted. */
export class RetentionReports {
  readonly #store: RetentionReportStore;

  constructor(database: Database) {
    this.#store = new RetentionReportStore(database);
  }

  /** Latest first. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<RetentionReport[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<{ report: RetentionReport; tables: (Omit<RetentionTable, 'cutoff'> & { readonly cutoff: Date })[] }> {
    const report = await this.#store.find(caller.orgId, id);
    if (report === undefined) throw new HalError('NotFound', 'no such report');
    return { report, tables: await this.#store.tables(caller.orgId, id) };
  }
}
