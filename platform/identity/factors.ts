import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { generateAuthenticationOptions, generateRegistrationOptions, verifyAuthenticationResponse, verifyRegistrationResponse, type AuthenticationResponseJSON, type PublicKeyCredentialCreationOptionsJSON, type PublicKeyCredentialRequestOptionsJSON, type RegistrationResponseJSON } from '@simplewebauthn/server';
import { Secret, TOTP } from 'otpauth';
import { renderSVG } from 'uqr';
import { z } from 'zod';
import type { Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { FactorStore, type Factor, type WebAuthnFactor } from '../../database/factors.ts';
import { HalError } from '../../schemas/errors.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Challenges } from './challenges.ts';

/** RFC 6238 with what every authenticator app takes: SHA-1, six digits, 30 s; a code of one step before or after counts too. */
const TOTP_PERIOD_SECONDS = 30;
const TOTP_WINDOW = 1;
/** Life of a challenge, seconds. */
const CHALLENGE_SECONDS = 300;
const ENROL_SECONDS = 900;
const RECOVERY_CODES = 10;
/** Letters of a recovery code, five bits each. */
const CODE_LENGTH = 24;
/** Factors of one kind a person may have. */
const MOST = 20;
const PURPOSE = 'second-factors';
/** Crockford's base32: nothing in it looks like something else. */
const CODE_LETTERS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Whose factors. */
export interface Person {
  readonly orgId: string;
  readonly userId: string;
}

/** A site as WebAuthn knows it: the host it is bound to and the origin its pages have. */
export interface Site {
  readonly rpId: string;
  readonly origin: string;
}

export interface FactorView {
  readonly id: string;
  readonly kind: 'totp' | 'webauthn';
  readonly name: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date | null;
}

export interface TotpEnrolment {
  readonly challengeId: string;
  /** Base32, to be typed where no picture can be scanned. */
  readonly secret: string;
  /** `otpauth://` address. */
  readonly uri: string;
  /** The address as a QR code, SVG. */
  readonly qr: string;
}

/** New recovery codes, shown this once; only hashes stay. */
export type RecoveryCodes = readonly string[];

const totpChallenge = z.object({ userId: z.string(), secret: z.string() });
const registration = z.object({ userId: z.string(), challenge: z.string(), rpId: z.string(), origin: z.string() });
const assertion = z.object({ userId: z.string().nullable(), challenge: z.string(), rpId: z.string(), origin: z.string() });

/** Second factors and passkeys. Protocols are the libraries'; this keeps what must happen once happening once. */
export class Factors {
  readonly #store: FactorStore;
  readonly #keys: KeyRing;
  readonly #challenges: Challenges;

  constructor(database: Database, keys: KeyRing, challenges: Challenges) {
    this.#store = new FactorStore(database);
    this.#keys = keys;
    this.#challenges = challenges;
  }

  async list({ orgId, userId }: Person): Promise<{ factors: FactorView[]; recoveryCodes: number }> {
    const all = await this.#store.list(orgId, userId);
    return { factors: all.filter(isShown).map(({ id, kind, name, createdAt, lastUsedAt }) => ({ id, kind, name, createdAt, lastUsedAt })), recoveryCodes: all.length - all.filter(isShown).length };
  }

  /** Begins to add an authenticator app. @param label what the app shows. */
  async beginTotp(person: Person, label: { readonly issuer: string; readonly account: string }): Promise<TotpEnrolment> {
    const secret = new Secret({ size: 20 });
    const uri = totp(secret, label).toString();
    const challengeId = await this.#challenges.create(person.orgId, 'totp-registration', { userId: person.userId, secret: secret.base32 }, ENROL_SECONDS);
    return { challengeId, secret: secret.base32, uri, qr: renderSVG(uri, { border: 2 }) };
  }

  /**
   * Adds it once a code proves that the app has the secret.
   * @returns recovery codes when this is the first factor.
   * @throws {HalError} `InvalidInput` for a wrong code, `Conflict` when the enrolment has expired or was finished.
   */
  async finishTotp(person: Person, challengeId: string, code: string, name: string, actFor: (id: string) => Act): Promise<RecoveryCodes> {
    const pending = totpChallenge.safeParse(await this.#challenges.read(person.orgId, challengeId, 'totp-registration'));
    if (!pending.success || pending.data.userId !== person.userId) throw expired();
    const secret = Secret.fromBase32(pending.data.secret);
    const step = stepOf(secret, code);
    if (step === undefined) throw wrongCode();
    if ((await this.#challenges.consume(person.orgId, challengeId, 'totp-registration')) === undefined) throw expired();
    const { codes, hashes } = await this.#firstCodes(person, 'totp');
    const id = randomUUID();
    await this.#store.addTotp(person.orgId, { id, userId: person.userId, name, sealed: this.#keys.seal(person.orgId, PURPOSE, secret.base32, id), lastStep: step }, hashes, actFor(id));
    return codes;
  }

  /** Begins to add a passkey or security key. */
  async beginPasskey(person: Person, site: Site, label: { readonly issuer: string; readonly account: string }): Promise<{ challengeId: string; options: PublicKeyCredentialCreationOptionsJSON }> {
    const existing = (await this.#store.list(person.orgId, person.userId)).filter((factor) => factor.kind === 'webauthn');
    const options = await generateRegistrationOptions({
      rpName: label.issuer,
      rpID: site.rpId,
      userName: label.account,
      // Found by it when nobody typed a name: organisation and user, no personal data.
      userID: userHandle(person),
      attestationType: 'none',
      excludeCredentials: existing.map(descriptor),
      authenticatorSelection: { residentKey: 'preferred', userVerification: 'preferred' },
    });
    const challengeId = await this.#challenges.create(person.orgId, 'webauthn-registration', { userId: person.userId, challenge: options.challenge, ...site }, CHALLENGE_SECONDS);
    return { challengeId, options };
  }

  /** @returns recovery codes when this is the first factor. @throws {HalError} `InvalidInput`, `Conflict` as `finishTotp`. */
  async finishPasskey(person: Person, challengeId: string, response: RegistrationResponseJSON, name: string, actFor: (id: string) => Act): Promise<RecoveryCodes> {
    const pending = registration.safeParse(await this.#challenges.consume(person.orgId, challengeId, 'webauthn-registration'));
    if (!pending.success || pending.data.userId !== person.userId) throw expired();
    const verified = await verifyRegistrationResponse({
      response,
      expectedChallenge: pending.data.challenge,
      expectedOrigin: pending.data.origin,
      expectedRPID: pending.data.rpId,
      requireUserVerification: false,
    }).catch((cause: unknown) => {
      throw refusedAuthenticator(cause);
    });
    if (!verified.verified) throw refusedAuthenticator(undefined);
    const { credential, credentialBackedUp } = verified.registrationInfo;
    const { codes, hashes } = await this.#firstCodes(person, 'webauthn');
    const id = randomUUID();
    const added = await this.#store.addWebAuthn(
      person.orgId,
      {
        id,
        userId: person.userId,
        name,
        credentialId: Buffer.from(credential.id, 'base64url'),
        publicKey: Buffer.from(credential.publicKey),
        counter: credential.counter,
        transports: credential.transports ?? [],
        backedUp: credentialBackedUp,
      },
      hashes,
      actFor(id),
    );
    if (!added) throw new HalError('Conflict', 'this authenticator is registered already');
    return codes;
  }

  /** @param person whose authenticators may answer; undefined for a passkey that itself says who it is of. */
  async beginAssertion(orgId: string, userId: string | undefined, site: Site): Promise<{ challengeId: string; options: PublicKeyCredentialRequestOptionsJSON }> {
    const allowed = userId === undefined ? [] : (await this.#store.list(orgId, userId)).filter((factor) => factor.kind === 'webauthn');
    const options = await generateAuthenticationOptions({
      rpID: site.rpId,
      // Without a password before, the authenticator itself must know its person.
      userVerification: userId === undefined ? 'required' : 'preferred',
      ...(userId === undefined ? {} : { allowCredentials: allowed.map(descriptor) }),
    });
    const challengeId = await this.#challenges.create(orgId, 'webauthn-assertion', { userId: userId ?? null, challenge: options.challenge, ...site }, CHALLENGE_SECONDS);
    return { challengeId, options };
  }

  /** @returns whose authenticator it was; undefined for an answer that proves nothing: wrong, late, used before, somebody else's, or of a copied authenticator. */
  async finishAssertion(orgId: string, challengeId: string, response: AuthenticationResponseJSON): Promise<{ userId: string; factorId: string } | undefined> {
    const pending = assertion.safeParse(await this.#challenges.consume(orgId, challengeId, 'webauthn-assertion'));
    if (!pending.success) return undefined;
    const factor = await this.#store.findCredential(orgId, Buffer.from(response.id, 'base64url'));
    if (factor === undefined || (pending.data.userId !== null && pending.data.userId !== factor.userId)) return undefined;
    const handle = response.response.userHandle;
    if (handle !== undefined && handle !== '' && handle !== Buffer.from(userHandle({ orgId, userId: factor.userId })).toString('base64url')) return undefined;
    const verified = await verify(response, factor, pending.data);
    if (verified === undefined || !(await this.#store.useWebAuthn(orgId, factor.id, verified))) return undefined;
    return { userId: factor.userId, factorId: factor.id };
  }

  /** @returns whether the code is right and was never taken. */
  async checkTotp({ orgId, userId }: Person, code: string): Promise<boolean> {
    for (const factor of await this.#store.list(orgId, userId)) {
      if (factor.kind !== 'totp') continue;
      const step = stepOf(Secret.fromBase32(this.#keys.open(orgId, PURPOSE, factor.sealed, factor.id).toString('utf8')), code);
      if (step !== undefined && (await this.#store.useTotp(orgId, factor.id, step))) return true;
    }
    return false;
  }

  /** Uses up a recovery code. @returns whether there was one like it. */
  async checkRecoveryCode({ orgId, userId }: Person, code: string, act: Act): Promise<boolean> {
    return this.#store.useRecoveryCode(orgId, userId, hashCode(code), act);
  }

  /** New recovery codes in place of the old ones. @throws {HalError} `Conflict` without a factor they could stand in for. */
  async renewRecoveryCodes({ orgId, userId }: Person, act: Act): Promise<RecoveryCodes> {
    if (!(await this.#store.list(orgId, userId)).some(isShown)) throw new HalError('Conflict', 'there is no factor that recovery codes could stand in for');
    const { codes, hashes } = newCodes();
    await this.#store.replaceRecoveryCodes(orgId, userId, hashes, act);
    return codes;
  }

  /** @throws {HalError} `NotFound`; `Conflict` for the last factor where one is required. */
  async remove({ orgId, userId }: Person, id: string, required: boolean, act: Act): Promise<void> {
    const shown = (await this.#store.list(orgId, userId)).filter(isShown);
    if (!shown.some((factor) => factor.id === id)) throw new HalError('NotFound', 'no such factor');
    if (required && shown.length === 1) throw new HalError('Conflict', 'the organisation requires a second factor; add another before you remove the last one');
    await this.#store.remove(orgId, userId, { id }, act);
  }

  /** Takes every factor of a person away, for somebody who lost them all. @returns how many. */
  async removeAll({ orgId, userId }: Person, act: Act): Promise<number> {
    return this.#store.remove(orgId, userId, 'all', act);
  }

  async #firstCodes({ orgId, userId }: Person, kind: 'totp' | 'webauthn'): Promise<{ codes: string[]; hashes: Buffer[] }> {
    const all = await this.#store.list(orgId, userId);
    if (all.filter((factor) => factor.kind === kind).length >= MOST) throw new HalError('Conflict', `at most ${MOST} of a kind`);
    return all.length > 0 ? { codes: [], hashes: [] } : newCodes();
  }
}

function isShown(factor: Factor): factor is Exclude<Factor, { kind: 'recovery' }> {
  return factor.kind !== 'recovery';
}

function totp(secret: Secret, label: { issuer: string; account: string }): TOTP {
  return new TOTP({ secret, issuer: label.issuer, label: label.account, algorithm: 'SHA1', digits: 6, period: TOTP_PERIOD_SECONDS });
}

/** The time step (RFC 6238, T) the code belongs to, near now. */
function stepOf(secret: Secret, code: string): number | undefined {
  const digits = code.replaceAll(/\s/g, '');
  if (!/^\d{6}$/.test(digits)) return undefined;
  const timestamp = Date.now();
  const delta = totp(secret, { issuer: '', account: '' }).validate({ token: digits, timestamp, window: TOTP_WINDOW });
  return delta === null ? undefined : Math.floor(timestamp / 1000 / TOTP_PERIOD_SECONDS) + delta;
}

async function verify(response: AuthenticationResponseJSON, factor: WebAuthnFactor, pending: z.output<typeof assertion>): Promise<number | undefined> {
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response,
      expectedChallenge: pending.challenge,
      expectedOrigin: pending.origin,
      expectedRPID: pending.rpId,
      requireUserVerification: pending.userId === null,
      // The counter is compared where it is stored, by one statement.
      credential: { id: factor.credentialId.toString('base64url'), publicKey: new Uint8Array(factor.publicKey), counter: 0 },
    });
    return verified ? authenticationInfo.newCounter : undefined;
  } catch {
    // The library says by exceptions what is wrong with an answer; all of it means that nothing is proved.
    return undefined;
  }
}

function descriptor(factor: WebAuthnFactor) {
  return { id: factor.credentialId.toString('base64url'), transports: factor.transports.filter(isTransport) };
}

type Transport = 'ble' | 'cable' | 'hybrid' | 'internal' | 'nfc' | 'smart-card' | 'usb';

function isTransport(text: string): text is Transport {
  return ['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb'].includes(text);
}

/** WebAuthn's user handle: at most 64 bytes, no personal data. */
function userHandle({ orgId, userId }: Person): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(`hal9\n${orgId}\n${userId}`).digest());
}

function newCodes(): { codes: string[]; hashes: Buffer[] } {
  const codes = Array.from({ length: RECOVERY_CODES }, () => [...randomBytes(CODE_LENGTH)].map((byte) => CODE_LETTERS[byte & 31]).join('').replaceAll(/.{4}(?=.)/g, '$&-'));
  return { codes, hashes: codes.map(hashCode) };
}

/** 120 random bits need no slow hash (OWASP ASVS 5.0, 6.5.2). */
function hashCode(code: string): Buffer {
  return createHash('sha256').update(code.toUpperCase().replaceAll(/[\s-]/g, '')).digest();
}

function wrongCode(): HalError {
  return new HalError('InvalidInput', 'the code is wrong', { errors: [{ path: '/code', message: 'not the code of this moment; check the clock of the device' }] });
}

function expired(): HalError {
  return new HalError('Conflict', 'this enrolment has expired or was finished; begin again');
}

function refusedAuthenticator(cause: unknown): HalError {
  return new HalError('InvalidInput', 'the answer of the authenticator proves nothing', { cause });
}
