import { randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { LegalHoldStore, type LegalHold } from '../../database/legal-holds.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { subjectHashes, type Identities } from './identities.ts';

export interface HoldDraft {
  readonly identities?: Identities | undefined;
  readonly source?: string | undefined;
  readonly table?: string | undefined;
  readonly reason: string;
  readonly until?: Date | undefined;
}

/** What must not be destroyed, whoever asks. */
export class LegalHolds {
  readonly #store: LegalHoldStore;
  readonly #keys: KeyRing;

  constructor({ database, keys }: { readonly database: Database; readonly keys: KeyRing }) {
    this.#store = new LegalHoldStore(database);
    this.#keys = keys;
  }

  async place(caller: Caller, draft: HoldDraft): Promise<LegalHold> {
    const id = randomUUID();
    return this.#store.insert(
      caller.orgId,
      { id, subjects: draft.identities === undefined ? null : subjectHashes(this.#keys, caller.orgId, draft.identities), source: draft.source ?? null, table: draft.table ?? null, reason: draft.reason, until: draft.until ?? null, createdBy: `${caller.actor.kind}:${caller.actor.id}` },
      actOf(caller, 'legal-hold.place', { kind: 'legal-hold', id }, { everybody: draft.identities === undefined, table: draft.table !== undefined }),
    );
  }

  /** Latest first. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<LegalHold[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<LegalHold> {
    return found(await this.#store.find(caller.orgId, id));
  }

  /** @throws {HalError} NotFound; Conflict for that of a restriction, which ends with its lifting. */
  async release(caller: Caller, id: string): Promise<LegalHold> {
    if ((await this.get(caller, id)).restrictionId !== null) throw new HalError('Conflict', 'the processing is restricted: lift the restriction (POST /v1/privacy/changes)');
    return found(await this.#store.release(caller.orgId, id, actOf(caller, 'legal-hold.release', { kind: 'legal-hold', id })));
  }
}

function found(hold: LegalHold | undefined): LegalHold {
  if (hold === undefined) throw new HalError('NotFound', 'no such hold');
  return hold;
}
