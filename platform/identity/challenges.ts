import { randomUUID } from 'node:crypto';
import { ChallengeStore, type ChallengeKind } from '../../database/challenges.ts';
import type { Database } from '../../database/database.ts';
import type { KeyRing } from '../keys/key-ring.ts';

const PURPOSE = 'sign-in-challenge';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * What HAL9 must remember between two requests of a sign-in: OIDC state, nonce and verifier, SAML request id, WebAuthn challenge,
 * a second factor that is owed. The id is random (122 bits) and may travel through the browser; the payload never leaves.
 */
export class Challenges {
  readonly #store: ChallengeStore;
  readonly #keys: KeyRing;

  constructor(database: Database, keys: KeyRing) {
    this.#store = new ChallengeStore(database);
    this.#keys = keys;
  }

  /**
   * @param payload JSON; sealed by the key ring for the organisation, bound to the id and the kind.
   * @param ttlSeconds how long the answer may take.
   * @returns the id, a UUID.
   */
  async create(orgId: string, kind: ChallengeKind, payload: unknown, ttlSeconds: number): Promise<string> {
    const id = randomUUID();
    const sealed = this.#keys.seal(orgId, PURPOSE, JSON.stringify(payload), `${kind}/${id}`);
    await this.#store.create({ orgId, id, kind, sealed, ttlSeconds });
    return id;
  }

  /**
   * Takes a challenge exactly once, whichever process asks first.
   * @returns its payload, to be validated by the caller; undefined when it was taken, has expired, is of another kind or organisation, or never was; also for ids that are none.
   */
  async consume(orgId: string, id: string, kind: ChallengeKind): Promise<unknown> {
    if (!UUID.test(id) || !UUID.test(orgId)) return undefined;
    return this.#open(orgId, id, kind, await this.#store.consume(orgId, id, kind));
  }

  /** Looks without taking. @returns as {@link consume}. */
  async read(orgId: string, id: string, kind: ChallengeKind): Promise<unknown> {
    if (!UUID.test(id) || !UUID.test(orgId)) return undefined;
    return this.#open(orgId, id, kind, await this.#store.read(orgId, id, kind));
  }

  #open(orgId: string, id: string, kind: ChallengeKind, sealed: Buffer | undefined): unknown {
    return sealed === undefined ? undefined : JSON.parse(this.#keys.open(orgId, PURPOSE, sealed, `${kind}/${id}`).toString('utf8'));
  }
}
