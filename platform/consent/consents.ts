import { createHash, randomUUID } from 'node:crypto';
import { ConsentStore, type ConsentRecord } from '../../database/consents.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { ConsentState, LegalBasis } from '../../schemas/rest/consents.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';

export interface ConsentDecision {
  readonly subject: string;
  readonly purpose: string;
  readonly state: ConsentState;
  readonly legalBasis: LegalBasis;
  readonly textVersion: string;
  readonly source: string;
  /** When the person decided; default now. */
  readonly at?: Date | undefined;
  readonly proof?: string | undefined;
}

const HISTORY = 1_000;
/** How far ahead a source's clock may be, milliseconds. */
const AHEAD_MS = 60_000;

/**
 * What people agreed to. The last record of a subject and a purpose counts, from the moment it is committed: nothing is cached, so a
 * withdrawal holds for every question asked after its answer.
 */
export class Consents {
  readonly #store: ConsentStore;
  readonly #keys: KeyRing;

  constructor({ database, keys }: { database: Database; keys: KeyRing }) {
    this.#store = new ConsentStore(database);
    this.#keys = keys;
  }

  /** @throws {HalError} InvalidInput for a time in the future. */
  async record(caller: Caller, decision: ConsentDecision): Promise<ConsentRecord> {
    const { purpose, state, legalBasis, textVersion, source, at, proof } = decision;
    if (at !== undefined && at.getTime() > Date.now() + AHEAD_MS) throw new HalError('InvalidInput', 'nobody decides in the future', { errors: [{ path: '/at', message: 'must not lie in the future' }] });
    const id = randomUUID();
    return this.#store.add(
      caller.orgId,
      {
        id,
        subject: this.#subject(caller.orgId, decision.subject),
        purpose,
        state,
        legalBasis,
        textVersion,
        source,
        at,
        proofHash: proof === undefined ? null : createHash('sha256').update(proof).digest(),
        recordedBy: `${caller.actor.kind}:${caller.actor.id}`,
      },
      actOf(caller, state === 'given' ? 'consent.give' : 'consent.withdraw', { kind: 'consent', id }, { purpose, legalBasis }),
    );
  }

  /** The record that counts, undefined where nothing was ever recorded. */
  async consentFor(orgId: string, subject: string, purpose: string): Promise<ConsentRecord | undefined> {
    return this.#store.current(orgId, this.#subject(orgId, subject), purpose);
  }

  /** Newest first. */
  async history(caller: Pick<Caller, 'orgId'>, subject: string): Promise<ConsentRecord[]> {
    return this.#store.history(caller.orgId, this.#subject(caller.orgId, subject), HISTORY);
  }

  async purposes(caller: Pick<Caller, 'orgId'>): Promise<{ purpose: string; given: number; withdrawn: number }[]> {
    return this.#store.purposes(caller.orgId);
  }

  #subject(orgId: string, subject: string): Buffer {
    return this.#keys.hmac(orgId, 'consent/subject', subject);
  }
}
