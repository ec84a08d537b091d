import { readdir } from 'node:fs/promises';
import { ContentStore } from '../../database/contents.ts';
import type { Database } from '../../database/database.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { cidsOf, type Cid } from './cid.ts';
import { removeRemains } from './embedded.ts';

/** No upload takes so long, ms. */
const LONGEST_UPLOAD_MS = 24 * 60 * 60_000;
const PAGE = 500;

/** What uploads left in the folder of blocks whose process was killed before a row named them. */
export class ContentRemains {
  readonly #contents: ContentStore;
  readonly #organisations: OrganisationStore;
  readonly #folder: string;

  /** @param folder blocks of organisations that have no node. */
  constructor({ database, folder }: { readonly database: Database; readonly folder: string }) {
    this.#contents = new ContentStore(database);
    this.#organisations = new OrganisationStore(database);
    this.#folder = folder;
  }

  /** Folders of organisations that this database does not know are left alone: they are another's. @returns how many files were deleted. */
  async remove(now: Date, signal: AbortSignal): Promise<number> {
    let removed = 0;
    for (const orgId of await this.#present()) {
      if (signal.aborted) break;
      if ((await this.#organisations.findAcrossOrganisations(orgId)) !== undefined) removed += await removeRemains(this.#folder, orgId, new Date(now.getTime() - LONGEST_UPLOAD_MS), this.#named(orgId));
    }
    return removed;
  }

  async #present(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => /^[0-9a-f-]{36}$/.test(name));
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    }
  }

  async *#named(orgId: string): AsyncIterable<Cid> {
    for (let after: string | undefined; ; ) {
      const page = await this.#contents.blocks(orgId, PAGE, after);
      for (const { root, digests } of page) yield* [root, ...cidsOf(digests)];
      after = page.at(-1)?.id;
      if (after === undefined) return;
    }
  }
}
