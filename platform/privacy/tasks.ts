import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { PrivacyTaskStore, type PrivacyTask } from '../../database/privacy-tasks.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Erasures } from './erasures.ts';
import type { Identities } from './identities.ts';

const PURPOSE = 'privacy-tasks';
const sealedIdentities = z.record(z.string(), z.array(z.string()));

/** What people must do by hand for erasures: handed over with who it is about, then said to be done. */
export class PrivacyTasks {
  readonly #store: PrivacyTaskStore;
  readonly #keys: KeyRing;
  readonly #erasures: Pick<Erasures, 'resume'>;

  constructor({ database, keys, erasures }: { readonly database: Database; readonly keys: KeyRing; readonly erasures: Pick<Erasures, 'resume'> }) {
    this.#store = new PrivacyTaskStore(database);
    this.#keys = keys;
    this.#erasures = erasures;
  }

  /** Latest first. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<PrivacyTask[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<PrivacyTask> {
    const task = await this.#store.find(caller.orgId, id);
    if (task === undefined) throw new HalError('NotFound', 'no such task');
    return task;
  }

  /** Hands it to the caller, with who it is about. @throws {HalError} NotFound; Conflict once it is done. */
  async take(caller: Caller, id: string): Promise<{ task: PrivacyTask; identities: Identities }> {
    await this.get(caller, id);
    const task = await this.#store.take(caller.orgId, id, actorOf(caller), actOf(caller, 'privacy-task.take', { kind: 'privacy-task', id }));
    if (task?.sealed == null) throw done();
    return { task, identities: sealedIdentities.parse(JSON.parse(this.#keys.open(caller.orgId, PURPOSE, task.sealed, id).toString('utf8'))) };
  }

  /** Says that it is done, or why not; its erasure looks again at once. @throws {HalError} NotFound; Conflict once it is done. */
  async end(caller: Caller, id: string, { outcome, note }: { outcome: 'done' | 'refused'; note: string }): Promise<PrivacyTask> {
    await this.get(caller, id);
    const task = await this.#store.end(caller.orgId, id, outcome, note, actorOf(caller), actOf(caller, 'privacy-task.end', { kind: 'privacy-task', id }, { outcome }));
    if (task === undefined) throw done();
    try {
      await this.#erasures.resume(caller, task.erasureId);
    } catch (error) {
      // The erasure may have ended without it, and looks again by itself otherwise.
      if (!(error instanceof HalError) || (error.type !== 'Conflict' && !error.failure.retryable)) throw error;
    }
    return task;
  }
}

/** A task as a source makes it. @param id of the task. */
export function sealTask(keys: KeyRing, orgId: string, identities: Identities): { id: string; sealed: Buffer } {
  const id = randomUUID();
  return { id, sealed: keys.seal(orgId, PURPOSE, JSON.stringify(identities), id) };
}

function done(): HalError {
  return new HalError('Conflict', 'the task is done, and nobody knows any more who it was about');
}

function actorOf({ actor }: Caller): string {
  return `${actor.kind}:${actor.id}`;
}
