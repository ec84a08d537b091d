import { createHash, randomUUID } from 'node:crypto';
import { ConsentStore, type ConsentRecord } from '../../database/consents.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { ConsentState, LegalBasis } from '../../schemas/rest/consents.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { PrivacyChanges } from '../privacy/changes.ts';
import type { Identities } from '../privacy/identities.ts';

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
  /** What the person is found by in other systems: with it the decision is carried there too. */
  readonly identities?: Identities | undefined;
}

/** A record, and the change that carries it into other systems. */
export type RecordedConsent = ConsentRecord & { readonly changeId: string | null };

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
  readonly #changes: Pick<PrivacyChanges, 'prepare'>;

  constructor({ database, keys, changes }: { database: Database; keys: KeyRing; changes: Pick<PrivacyChanges, 'prepare'> }) {
    this.#store = new ConsentStore(database);
    this.#keys = keys;
    this.#changes = changes;
  }

  /** The record, and with it the ledger's row of what carries it on. @throws {HalError} InvalidInput for a time in the future. */
  async record(caller: Caller, decision: ConsentDecision): Promise<RecordedConsent> {
    const { purpose, state, legalBasis, textVersion, source, at, proof, identities } = decision;
    if (at !== undefined && at.getTime() > Date.now() + AHEAD_MS) throw new HalError('InvalidInput', 'nobody decides in the future', { errors: [{ path: '/at', message: 'must not lie in the future' }] });
    const id = randomUUID();
    const change = identities === undefined ? undefined : await this.#changes.prepare(caller, { identities, verification: `consent record ${id}`, change: { kind: 'consent', purpose, state } });
    const record = await this.#store.add(
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
      change?.insert,
    );
    await change?.start();
    return { ...record, changeId: change?.id ?? null };
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
