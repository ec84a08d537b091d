import { randomUUID } from 'node:crypto';
import { SourceStore, type BrokerDeadLetter, type SourceChange, type StoredSource } from '../../database/broker-sources.ts';
import type { Database } from '../../database/database.ts';
import type { SourceDraft } from '../../schemas/brokers/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Connections } from '../connections/connections.ts';
import type { Caller } from '../identity/caller.ts';
import type { BrokerIntake } from './intake.ts';

export interface SourceDependencies {
  readonly database: Database;
  readonly connections: Pick<Connections, 'open'>;
  readonly intake: Pick<BrokerIntake, 'replay'>;
}

/** Broker sources of an organisation. */
export class Sources {
  readonly #store: SourceStore;
  readonly #connections: Pick<Connections, 'open'>;
  readonly #intake: Pick<BrokerIntake, 'replay'>;

  constructor({ database, connections, intake }: SourceDependencies) {
    this.#store = new SourceStore(database);
    this.#connections = connections;
    this.#intake = intake;
  }

  /** By name, at most `limit`; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<StoredSource[]> {
    return this.#store.list(caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<StoredSource> {
    const source = await this.#store.find(caller.orgId, id);
    if (source === undefined) throw missing();
    return source;
  }

  /** @throws {HalError} `InvalidInput` when the connection is none of its kind of broker, `Conflict` when the name is taken. */
  async create(caller: Caller, draft: SourceDraft): Promise<StoredSource> {
    await this.#check(caller, draft);
    const id = randomUUID();
    const created = await this.#store.create(caller.orgId, id, draft, actOf(caller, 'source.create', { kind: 'source', id }, { enabled: draft.enabled }));
    if (created === undefined) throw nameTaken();
    return created;
  }

  /** Whoever consumes begins anew. @throws {HalError} as {@link create}; `NotFound`; `Conflict` when another version is there by now. */
  async replace(caller: Caller, id: string, expected: number | undefined, draft: SourceDraft): Promise<StoredSource> {
    await this.get(caller, id);
    await this.#check(caller, draft);
    return changed(await this.#store.change(caller.orgId, id, expected, draft, actOf(caller, 'source.update', { kind: 'source', id }, { enabled: draft.enabled })));
  }

  /** Its dead letters go with it. @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'source.delete', { kind: 'source', id })))) throw missing();
  }

  /** Newest first. @throws {HalError} `NotFound`. */
  async deadLetters(caller: Caller, id: string, limit: number, before?: { createdAt: Date; id: string }): Promise<BrokerDeadLetter[]> {
    await this.get(caller, id);
    return this.#store.deadLetters(caller.orgId, id, limit, before);
  }

  /** Takes a dead letter in with the mapping of today; a second time changes nothing. @throws {HalError} `NotFound`; `InvalidInput` when it is still no signal. */
  async replay(caller: Caller, id: string, letterId: string): Promise<void> {
    const source = await this.get(caller, id);
    const letter = await this.#store.deadLetter(caller.orgId, id, letterId);
    if (letter === undefined) throw new HalError('NotFound', 'there is no such dead letter');
    await this.#intake.replay(source, letter);
    await this.#store.markReplayed(caller.orgId, letterId, actOf(caller, 'source.replay', { kind: 'source', id }, { letter: letterId }));
  }

  async #check(caller: Caller, draft: SourceDraft): Promise<void> {
    try {
      await this.#connections.open(caller.orgId, draft.connection, [draft.kind]);
    } catch (error) {
      if (!(error instanceof HalError) || (error.type !== 'NotFound' && error.type !== 'Conflict')) throw error;
      throw new HalError('InvalidInput', 'the connection does not fit', { errors: [{ path: '/connection', message: error.message }] });
    }
  }
}

function changed(outcome: SourceChange): StoredSource {
  switch (outcome.kind) {
    case 'changed': return outcome.source;
    case 'missing': throw missing();
    case 'stale': throw new HalError('Conflict', `the source is at version ${String(outcome.version)} by now`);
    case 'name-taken': throw nameTaken();
  }
}

function missing(): HalError {
  return new HalError('NotFound', 'there is no such source');
}

function nameTaken(): HalError {
  return new HalError('Conflict', 'another source has this name');
}
