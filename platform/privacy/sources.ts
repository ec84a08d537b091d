import { randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { PrivacySourceStore, type PrivacySourceRecord } from '../../database/privacy-sources.ts';
import { HalError } from '../../schemas/errors.ts';
import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import { SOURCE_DECLARATIONS } from './source-kinds.ts';

/** What may be told about a source. */
export interface PrivacySource extends Omit<PrivacySourceRecord, 'sealed'> {
  /** Null when no master key in the ring opens the address. */
  readonly host: string | null;
  readonly database: string | null;
}

/** A source ready for use. Never logged. */
export interface OpenPrivacySource {
  readonly id: string;
  readonly name: string;
  readonly kind: SourceKind;
  /** As it was declared; its kind reads it. */
  readonly address: string;
  readonly annotations: string;
}

const PURPOSE = 'privacy-sources';

/** Id and name of the source that HAL9 itself is; it needs no declaration. */
export const OWN_SOURCE = 'hal9';

/** Systems that hold data of people: their addresses sealed, their annotations checked when they come in. */
export class PrivacySources {
  readonly #store: PrivacySourceStore;
  readonly #keys: KeyRing;

  constructor({ database, keys }: { readonly database: Database; readonly keys: KeyRing }) {
    this.#store = new PrivacySourceStore(database);
    this.#keys = keys;
  }

  /** @throws {HalError} InvalidInput for an address or annotations that cannot be read; Conflict when the name is taken. */
  async create(caller: Caller, draft: { name: string; kind: SourceKind; address: string; annotations: string }): Promise<PrivacySource> {
    if (draft.name === OWN_SOURCE) throw new HalError('Conflict', `"${OWN_SOURCE}" is HAL9 itself`);
    const declaration = SOURCE_DECLARATIONS[draft.kind];
    declaration.shown(draft.address);
    declaration.checkAnnotations(draft.annotations);
    const id = randomUUID();
    const record = await this.#store.insert(
      caller.orgId,
      { id, name: draft.name, kind: draft.kind, sealed: this.#seal(caller.orgId, id, 1, draft.address), annotations: draft.annotations, updatedBy: actorOf(caller) },
      actOf(caller, 'privacy-source.create', { kind: 'privacy-source', id }, { kind: draft.kind }),
    );
    if (record === undefined) throw new HalError('Conflict', `there is a source named "${draft.name}" already`);
    return this.#view(caller.orgId, record);
  }

  /** By name. */
  async list(caller: Caller, limit: number, after?: string): Promise<PrivacySource[]> {
    return (await this.#store.list(caller.orgId, limit, after)).map((record) => this.#view(caller.orgId, record));
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<PrivacySource> {
    return this.#view(caller.orgId, await this.#record(caller.orgId, id));
  }

  /** @throws {HalError} as {@link create}; NotFound; Conflict when it is at another version. */
  async change(caller: Caller, id: string, change: { address?: string | undefined; annotations?: string | undefined; version?: number | undefined }): Promise<PrivacySource> {
    const record = await this.#record(caller.orgId, id);
    const declaration = SOURCE_DECLARATIONS[record.kind];
    if (change.address !== undefined) declaration.shown(change.address);
    if (change.annotations !== undefined) declaration.checkAnnotations(change.annotations);
    if (change.version !== undefined && change.version !== record.version) throw new HalError('Conflict', `the source is at version ${record.version}`);
    const address = change.address ?? this.#open(caller.orgId, record);
    const changed = await this.#store.replace(
      caller.orgId,
      id,
      record.version,
      { sealed: this.#seal(caller.orgId, id, record.version + 1, address), annotations: change.annotations ?? record.annotations, updatedBy: actorOf(caller) },
      actOf(caller, 'privacy-source.change', { kind: 'privacy-source', id }, { address: change.address !== undefined, annotations: change.annotations !== undefined }),
    );
    if (changed === undefined) throw new HalError('Conflict', 'the source changed meanwhile');
    return this.#view(caller.orgId, changed);
  }

  /** @throws {HalError} NotFound. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'privacy-source.delete', { kind: 'privacy-source', id })))) throw noSource();
  }

  /** All of an organisation, for use inside HAL9; no permission is asked. @throws {KeyError} when an address cannot be opened. */
  async openAll(orgId: string): Promise<OpenPrivacySource[]> {
    const records: PrivacySourceRecord[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list(orgId, 200, after);
      records.push(...page);
      after = page.at(-1)?.name;
      if (page.length < 200) break;
    }
    return records.map((record) => this.#opened(orgId, record));
  }

  /** For use inside HAL9. @throws {HalError} NotFound. */
  async open(orgId: string, id: string): Promise<OpenPrivacySource> {
    return this.#opened(orgId, await this.#record(orgId, id));
  }

  /** For use inside HAL9. @throws {HalError} NotFound. */
  async openByName(orgId: string, name: string): Promise<OpenPrivacySource> {
    const record = await this.#store.findByName(orgId, name);
    if (record === undefined) throw noSource();
    return this.#opened(orgId, record);
  }

  #opened(orgId: string, record: PrivacySourceRecord): OpenPrivacySource {
    return { id: record.id, name: record.name, kind: record.kind, address: this.#open(orgId, record), annotations: record.annotations };
  }

  async #record(orgId: string, id: string): Promise<PrivacySourceRecord> {
    const record = await this.#store.find(orgId, id);
    if (record === undefined) throw noSource();
    return record;
  }

  #seal(orgId: string, id: string, version: number, address: string): Buffer {
    return this.#keys.seal(orgId, PURPOSE, address, `${id}/${version}`);
  }

  #open(orgId: string, record: PrivacySourceRecord): string {
    return this.#keys.open(orgId, PURPOSE, record.sealed, `${record.id}/${record.version}`).toString('utf8');
  }

  #view(orgId: string, record: PrivacySourceRecord): PrivacySource {
    const { sealed: _, ...told } = record;
    try {
      const { host, database } = SOURCE_DECLARATIONS[record.kind].shown(this.#open(orgId, record));
      return { ...told, host, database };
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      return { ...told, host: null, database: null };
    }
  }
}

function noSource(): HalError {
  return new HalError('NotFound', 'no such source');
}

function actorOf({ actor }: Caller): string {
  return `${actor.kind}:${actor.id}`;
}
