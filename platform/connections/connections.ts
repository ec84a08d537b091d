import { randomUUID } from 'node:crypto';
import { ConnectionStore, type ConnectionRecord, type ConnectionTest } from '../../database/connections.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { connectionSettings, type ConnectionSettings } from '../../schemas/rest/connections.ts';
import { fieldErrors } from '../failures/translate.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import type { Egress } from './egress.ts';
import type { OutsideFailure } from './failure.ts';
import { probe } from './probe.ts';
import { redact } from './redaction.ts';

/** What may be told about a connection. */
export interface Connection extends Omit<ConnectionRecord, 'sealed'> {
  /** Without secrets; null when no master key in the ring opens it. */
  readonly settings: Readonly<Record<string, unknown>> | null;
  /** Names of the secret settings that are set. */
  readonly secrets: readonly string[];
}

/** A connection ready for use. Keep it no longer than the call it is for, and never log it. */
export interface OpenConnection<Settings extends ConnectionSettings = ConnectionSettings> {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly settings: Settings;
}

export interface ConnectionDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly egress: Egress;
}

const PURPOSE = 'connections';
const UNTESTED: ConnectionTest = { state: 'untested', testedAt: null, failure: null };

/** Credentials of an organisation for systems outside, sealed at rest. */
export class Connections {
  readonly #store: ConnectionStore;
  readonly #keys: KeyRing;
  readonly #egress: Egress;

  constructor(dependencies: ConnectionDependencies) {
    this.#store = new ConnectionStore(dependencies.database);
    this.#keys = dependencies.keys;
    this.#egress = dependencies.egress;
  }

  /**
   * @param options `test`: whether it must work before it is saved.
   * @throws {HalError} `Conflict` when the name is taken; `InvalidInput` or `ExternalCallFailed` when the test fails.
   */
  async create(caller: Caller, draft: { name: string; settings: ConnectionSettings }, options: { test: boolean; signal: AbortSignal }): Promise<Connection> {
    const id = randomUUID();
    const test = await this.#mustPass(draft.settings, options);
    const record = await this.#store.insert(caller.orgId, {
      id,
      name: draft.name,
      kind: draft.settings.kind,
      sealed: this.#seal(caller.orgId, id, 1, draft.settings),
      test,
      updatedBy: actorOf(caller),
    }, actOf(caller, 'connection.create', { kind: 'connection', id }, { kind: draft.settings.kind }));
    if (record === undefined) throw new HalError('Conflict', `there is a connection named "${draft.name}" already`);
    return this.#view(caller.orgId, record);
  }

  /** By name; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<Connection[]> {
    return (await this.#store.list(caller.orgId, limit, after)).map((record) => this.#view(caller.orgId, record));
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<Connection> {
    return this.#view(caller.orgId, await this.#record(caller.orgId, id));
  }

  /** @throws {HalError} `NotFound`; `Conflict` for another version or kind; as `create` when the test fails. */
  async replace(caller: Caller, id: string, change: { settings: ConnectionSettings; version?: number | undefined }, options: { test: boolean; signal: AbortSignal }): Promise<Connection> {
    const record = await this.#record(caller.orgId, id);
    if (change.version !== undefined && change.version !== record.version) throw new HalError('Conflict', `the connection is at version ${record.version}`);
    return this.#change(caller, 'connection.replace', record, change.settings, options);
  }

  /**
   * Exchanges some settings, usually the secrets; with none the same settings are sealed again under the current master key.
   * @throws {HalError} as `replace`; `InvalidInput` when the result is no valid connection.
   */
  async rotate(caller: Caller, id: string, settings: Readonly<Record<string, unknown>>, options: { test: boolean; signal: AbortSignal }): Promise<Connection> {
    const record = await this.#record(caller.orgId, id);
    const merged = connectionSettings.safeParse({ ...this.#unseal(caller.orgId, record), ...settings, kind: record.kind });
    if (!merged.success) throw new HalError('InvalidInput', 'the settings do not fit the connection', { errors: fieldErrors(merged.error, '/settings') });
    return this.#change(caller, 'connection.rotate', record, merged.data, options);
  }

  /** Tests it now and notes the outcome. @throws {HalError} `NotFound`. */
  async test(caller: Caller, id: string, signal: AbortSignal): Promise<Connection> {
    const record = await this.#record(caller.orgId, id);
    const failure = await probe(this.#egress, this.#unseal(caller.orgId, record), signal);
    const test = outcome(failure);
    await this.#store.noteTest(caller.orgId, id, record.version, test, actOf(caller, 'connection.test', { kind: 'connection', id }, {}, failure === undefined ? 'succeeded' : 'failed'));
    return this.#view(caller.orgId, { ...record, state: test.state, lastTestedAt: test.testedAt, lastFailure: test.failure });
  }

  /** @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'connection.delete', { kind: 'connection', id })))) throw new HalError('NotFound', 'no such connection');
  }

  /**
   * Opens a connection by name, for use inside HAL9; no permission is asked.
   * @throws {HalError} `NotFound` when the organisation has none of that name; `Conflict` when it is of none of the kinds.
   */
  async open<Kind extends ConnectionSettings['kind']>(orgId: string, name: string, kinds: readonly Kind[]): Promise<OpenConnection<Extract<ConnectionSettings, { kind: Kind }>>> {
    const record = await this.#store.findByName(orgId, name);
    if (record === undefined) throw new HalError('NotFound', `no connection named "${name}"`);
    const settings = this.#unseal(orgId, record);
    if (!isOneOf(settings, kinds)) throw new HalError('Conflict', `the connection "${name}" is of kind ${record.kind}; expected ${kinds.join(' or ')}`);
    return { id: record.id, name: record.name, version: record.version, settings };
  }

  /** Whether the organisation has a connection of that name. */
  async exists(orgId: string, name: string): Promise<boolean> {
    return (await this.#store.findByName(orgId, name)) !== undefined;
  }

  async #change(caller: Caller, action: string, record: ConnectionRecord, settings: ConnectionSettings, options: { test: boolean; signal: AbortSignal }): Promise<Connection> {
    if (settings.kind !== record.kind) throw new HalError('Conflict', `the connection is of kind ${record.kind}; make a new one for ${settings.kind}`);
    const test = await this.#mustPass(settings, options);
    const version = record.version + 1;
    const replaced = await this.#store.replace(caller.orgId, record.id, record.version, { sealed: this.#seal(caller.orgId, record.id, version, settings), test, updatedBy: actorOf(caller) }, actOf(caller, action, { kind: 'connection', id: record.id }, { version }));
    if (replaced === undefined) throw new HalError('Conflict', 'somebody else changed the connection meanwhile');
    return this.#view(caller.orgId, replaced);
  }

  async #mustPass(settings: ConnectionSettings, options: { test: boolean; signal: AbortSignal }): Promise<ConnectionTest> {
    if (!options.test) return UNTESTED;
    const failure = await probe(this.#egress, settings, options.signal);
    if (failure === undefined) return outcome(undefined);
    const detail = `the connection was not saved because its test failed: ${failure.message}; ?test=false saves it untested`;
    throw new HalError(failure.retryable ? 'ExternalCallFailed' : 'InvalidInput', detail, failure.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: failure.retryAfterSeconds });
  }

  async #record(orgId: string, id: string): Promise<ConnectionRecord> {
    const record = await this.#store.find(orgId, id);
    if (record === undefined) throw new HalError('NotFound', 'no such connection');
    return record;
  }

  #seal(orgId: string, id: string, version: number, settings: ConnectionSettings): Buffer {
    return this.#keys.seal(orgId, PURPOSE, JSON.stringify(settings), `${id}/${version}`);
  }

  #unseal(orgId: string, record: ConnectionRecord): ConnectionSettings {
    try {
      return connectionSettings.parse(JSON.parse(this.#keys.open(orgId, PURPOSE, record.sealed, `${record.id}/${record.version}`).toString('utf8')));
    } catch (error) {
      // A parser's message may quote the settings, so only the key's own failure is passed on.
      throw new HalError('Internal', `the settings of the connection "${record.name}" cannot be opened`, error instanceof KeyError ? { cause: error } : {});
    }
  }

  #view(orgId: string, { sealed, ...record }: ConnectionRecord): Connection {
    try {
      return { ...record, ...redact(this.#unseal(orgId, { ...record, sealed })) };
    } catch (error) {
      if (!(error instanceof HalError)) throw error;
      return { ...record, settings: null, secrets: [] };
    }
  }
}

function outcome(failure: OutsideFailure | undefined): ConnectionTest {
  return { state: failure === undefined ? 'ok' : 'failed', testedAt: new Date(), failure: failure?.message ?? null };
}

function actorOf(caller: Caller): string {
  return `${caller.actor.kind}:${caller.actor.id}`;
}

function isOneOf<Kind extends ConnectionSettings['kind']>(settings: ConnectionSettings, kinds: readonly Kind[]): settings is Extract<ConnectionSettings, { kind: Kind }> {
  return kinds.some((kind) => kind === settings.kind);
}
