import type { ClientBase } from 'pg';
import type { LegalHold } from '../../database/legal-holds.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import { subjectHashes, type Identities } from '../../platform/privacy/identities.ts';
import { reachRows, RowSet, seedValues } from '../privacy/postgres-rows.ts';
import type { HeldRows } from './expired-rows.ts';

/** Holds are asked for again after so long, milliseconds. */
const HOLDS_MS = 1_000;
/** Whom they protect is looked up in the source again after so long: every identity of it is hashed. Milliseconds. */
const PEOPLE_MS = 60_000;

export interface HeldPeopleParts {
  readonly client: ClientBase;
  readonly map: DataMap;
  readonly source: string;
  readonly orgId: string;
  readonly keys: KeyRing;
  /** Holds in force. */
  readonly holds: () => Promise<readonly LegalHold[]>;
}

interface HeldPerson {
  readonly hold: LegalHold;
  readonly identities: Identities;
}

/** People whom holds protect in one source. Holds know keyed hashes only, so the identities of the source are hashed and compared. */
export class HeldPeople {
  readonly #parts: HeldPeopleParts;
  #holds: readonly LegalHold[] = [];
  #asked = Number.NEGATIVE_INFINITY;
  #people: readonly HeldPerson[] = [];
  #lookedUp: { readonly of: string; readonly at: number } = { of: '', at: Number.NEGATIVE_INFINITY };

  constructor(parts: HeldPeopleParts) {
    this.#parts = parts;
  }

  /** Their rows. Run in a transaction that sees one snapshot. */
  async rows(): Promise<HeldRows> {
    const { client, map } = this.#parts;
    const held = new Map<string, RowSet>();
    for (const { hold, identities } of await this.#protected()) {
      for (const [id, set] of await reachRows(client, map, identities)) {
        const table = map.schema.tables.get(id);
        if (hold.table !== null && ![id, table?.annotation?.name, `${table?.relation.schema ?? ''}.${table?.relation.name ?? ''}`].includes(hold.table)) continue;
        const all = held.get(id) ?? new RowSet();
        all.add([...set.chunks(Number.MAX_SAFE_INTEGER)].flatMap(({ oid, tids }) => tids.map((tid) => ({ oid, tid }))));
        held.set(id, all);
      }
    }
    return held;
  }

  async #protected(): Promise<readonly HeldPerson[]> {
    const { source, holds } = this.#parts;
    const now = performance.now();
    if (now - this.#asked > HOLDS_MS) {
      this.#holds = (await holds()).filter(({ subjects, source: of }) => subjects !== null && (of === null || of === source));
      this.#asked = now;
    }
    if (this.#holds.length === 0) return [];
    const of = this.#holds.map(({ id }) => id).join();
    if (of !== this.#lookedUp.of || now - this.#lookedUp.at > PEOPLE_MS) {
      this.#people = await this.#lookUp();
      this.#lookedUp = { of, at: now };
    }
    return this.#people;
  }

  async #lookUp(): Promise<HeldPerson[]> {
    const { client, map, keys, orgId } = this.#parts;
    const byHash = Map.groupBy(this.#holds.flatMap((hold) => (hold.subjects ?? []).map((subject) => ({ hash: subject.toString('hex'), hold }))), ({ hash }) => hash);
    const found = new Map<LegalHold, Map<string, Set<string>>>();
    for (const { identity, table: id, path } of map.traversal.seeds) {
      const table = map.schema.tables.get(id);
      if (table === undefined) continue;
      for await (const values of seedValues(client, table, path)) {
        for (const value of values) {
          const [hash] = subjectHashes(keys, orgId, { [identity]: [value] });
          for (const { hold } of byHash.get(hash?.toString('hex') ?? '') ?? []) {
            const kinds = found.get(hold) ?? new Map<string, Set<string>>();
            kinds.set(identity, (kinds.get(identity) ?? new Set()).add(value));
            found.set(hold, kinds);
          }
        }
      }
    }
    return [...found].map(([hold, kinds]) => ({ hold, identities: Object.fromEntries([...kinds].map(([kind, values]) => [kind, [...values]])) }));
  }
}
