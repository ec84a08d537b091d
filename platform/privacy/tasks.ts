import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { PrivacyTaskStore, type PrivacyTask } from '../../database/privacy-tasks.ts';
import { HalError } from '../../schemas/errors.ts';
import { subjectChange, type SubjectChange } from '../../schemas/privacy/change.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { PrivacyChanges } from './changes.ts';
import type { Erasures } from './erasures.ts';
import type { Identities } from './identities.ts';

const PURPOSE = 'privacy-tasks';
const identitiesOnly = z.record(z.string(), z.array(z.string()));
/** Tasks of erasures hold who it is about, those of changes also what becomes of their data. */
const sealedTask = z.union([z.strictObject({ identities: identitiesOnly, change: subjectChange }), identitiesOnly.transform((identities) => ({ identities, change: null }))]);

/** What people must do by hand for erasures and changes: handed over with who it is about, then said to be done. */
export class PrivacyTasks {
  readonly #store: PrivacyTaskStore;
  readonly #keys: KeyRing;
  readonly #erasures: Pick<Erasures, 'resume'>;
  readonly #changes: Pick<PrivacyChanges, 'resume'>;

  constructor({ database, keys, erasures, changes }: { readonly database: Database; readonly keys: KeyRing; readonly erasures: Pick<Erasures, 'resume'>; readonly changes: Pick<PrivacyChanges, 'resume'> }) {
    this.#store = new PrivacyTaskStore(database);
    this.#keys = keys;
    this.#erasures = erasures;
    this.#changes = changes;
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

  /** Hands it to the caller, with who it is about, and what becomes of their data where it is a change. @throws {HalError} NotFound; Conflict once it is done. */
  async take(caller: Caller, id: string): Promise<{ task: PrivacyTask; identities: Identities; change: SubjectChange | null }> {
    await this.get(caller, id);
    const task = await this.#store.take(caller.orgId, id, actorOf(caller), actOf(caller, 'privacy-task.take', { kind: 'privacy-task', id }));
    if (task?.sealed == null) throw done();
    return { task, ...sealedTask.parse(JSON.parse(this.#keys.open(caller.orgId, PURPOSE, task.sealed, id).toString('utf8'))) };
  }

  /** Says that it is done, or why not; what it is a part of looks again at once. @throws {HalError} NotFound; Conflict once it is done. */
  async end(caller: Caller, id: string, { outcome, note }: { outcome: 'done' | 'refused'; note: string }): Promise<PrivacyTask> {
    await this.get(caller, id);
    const task = await this.#store.end(caller.orgId, id, outcome, note, actorOf(caller), actOf(caller, 'privacy-task.end', { kind: 'privacy-task', id }, { outcome }));
    if (task === undefined) throw done();
    try {
      if (task.erasureId !== null) await this.#erasures.resume(caller, task.erasureId);
      if (task.changeId !== null) await this.#changes.resume(caller, task.changeId);
    } catch (error) {
      // It may have ended without it, and looks again by itself otherwise.
      if (!(error instanceof HalError) || (error.type !== 'Conflict' && !error.failure.retryable)) throw error;
    }
    return task;
  }
}

/** A task as a source makes it. @param change what becomes of the person's data, unless they are erased. */
export function sealTask(keys: KeyRing, orgId: string, identities: Identities, change?: SubjectChange): { id: string; sealed: Buffer } {
  const id = randomUUID();
  return { id, sealed: keys.seal(orgId, PURPOSE, JSON.stringify(change === undefined ? identities : { identities, change }), id) };
}

function done(): HalError {
  return new HalError('Conflict', 'the task is done, and nobody knows any more who it was about');
}

function actorOf({ actor }: Caller): string {
  return `${actor.kind}:${actor.id}`;
}
