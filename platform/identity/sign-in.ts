import { randomUUID } from 'node:crypto';
import type { AuthenticationResponseJSON, PublicKeyCredentialCreationOptionsJSON, PublicKeyCredentialRequestOptionsJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import { z } from 'zod';
import type { Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import type { SessionMethod, Trait } from '../../database/sessions.ts';
import { SignInStore, type Linkable, type SignInOrganisation, type SignInPolicy, type SignInUser } from '../../database/sign-ins.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf, noActHere } from '../audit/act.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { ApiKeys } from './api-keys.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import type { Challenges } from './challenges.ts';
import type { Factors, RecoveryCodes, Site, TotpEnrolment } from './factors.ts';
import type { ForgottenPasswords } from './forgotten-passwords.ts';
import type { Grants } from './grants.ts';
import type { IdentityProviders, SignInOption } from './identity-providers.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { hashPassword, isOutdated, verifyPassword } from './passwords.ts';
import { riskOfSignIn } from './risk.ts';
import type { RoleMappings } from './role-mapping.ts';
import { pendingCookie } from './session-cookie.ts';
import { personalOf, type Sessions } from './sessions.ts';
import type { ExternalIdentity, SignInOutcome, SignInPort } from './sign-in-contract.ts';
import type { SignInThrottle } from './sign-in-throttle.ts';

/** Where somebody goes who wanted nothing in particular. */
const HOME = '/console/runs.html';
const SECOND_FACTOR_PAGE = '/second-factor';
/** Time to show the second factor, seconds. */
const PENDING_SECONDS = 600;
const NOBODY_ID = '00000000-0000-0000-0000-000000000000';

const pendingPayload = z.object({
  userId: z.string(),
  userName: z.string(),
  method: z.enum(['password', 'oidc', 'saml', 'ldap']),
  providerId: z.string().optional(),
  logout: z.record(z.string(), z.string()).optional(),
  returnTo: z.string(),
  failures: z.number(),
  suspectAddress: z.boolean(),
  /** Whether the person has no factor yet and must add one now. */
  enrol: z.boolean(),
});

/** A sign-in that waits for its second factor. */
export interface PendingSignIn extends z.output<typeof pendingPayload> {
  readonly orgId: string;
  readonly challengeId: string;
}

export interface PasswordSignIn {
  /** Slug or id. */
  readonly organisation: string;
  readonly userName: string;
  readonly password: string;
  readonly returnTo?: string | undefined;
}

export type FactorProof =
  | { readonly kind: 'totp'; readonly code: string }
  | { readonly kind: 'recovery'; readonly code: string }
  | { readonly kind: 'webauthn'; readonly challengeId: string; readonly response: AuthenticationResponseJSON };

/** What the sign-in page offers. */
export interface SignInOffer {
  readonly organisation: { readonly name: string; readonly slug: string | null; readonly id: string };
  readonly passwords: boolean;
  /** Whether a forgotten password can be set anew by mail. */
  readonly resetByMail: boolean;
  readonly providers: readonly SignInOption[];
}

export interface SignInDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly sessions: Sessions;
  readonly factors: Factors;
  readonly challenges: Challenges;
  readonly throttle: SignInThrottle;
  readonly grants: Grants;
  readonly authority: Pick<Authority, 'coversPerson'>;
  readonly apiKeys: ApiKeys;
  readonly providers: Pick<IdentityProviders, 'rules' | 'options'>;
  readonly roleMappings: Pick<RoleMappings, 'apply'>;
  readonly forgotten: Pick<ForgottenPasswords, 'offers'>;
}

type ProviderRules = Pick<NonNullable<Awaited<ReturnType<IdentityProviders['rules']>>>, 'provisions' | 'trustsEmail' | 'vouches'>;

interface Proven {
  readonly orgId: string;
  readonly user: SignInUser;
  readonly method: 'password' | 'passkey' | 'oidc' | 'saml' | 'ldap';
  readonly providerId?: string | undefined;
  readonly logout?: Readonly<Record<string, string>> | undefined;
  readonly failures: number;
  readonly suspectAddress: boolean;
  /** Whether a second factor was shown. */
  readonly secondFactor: boolean;
  readonly returnTo: string;
}

/** Every way in: password, passkey, provider, API key. They all end here, where factors are asked for and sessions opened. */
export class SignIn implements SignInPort {
  readonly #store: SignInStore;
  readonly #parts: SignInDependencies;

  constructor(parts: SignInDependencies) {
    this.#store = new SignInStore(parts.database);
    this.#parts = parts;
  }

  /** @throws {HalError} `NotFound` when there is no such organisation, or it is suspended. */
  async offer(organisation: string): Promise<SignInOffer> {
    const found = await this.#organisation(organisation);
    if (found === undefined) throw new HalError('NotFound', 'no organisation of this name');
    return { organisation: { name: found.name, slug: found.slug, id: found.orgId }, passwords: found.policy.passwords, resetByMail: found.policy.passwords && this.#parts.forgotten.offers(found), providers: await this.#parts.providers.options(found.orgId) };
  }

  /** @returns slug or id of the organisation whose people have such addresses. @throws {HalError} `NotFound`. */
  async organisationOfDomain(domain: string): Promise<string> {
    const found = await this.#store.findByDomainAcrossOrganisations(domain);
    if (found === undefined) throw new HalError('NotFound', 'no organisation has claimed this domain');
    return found;
  }

  /**
   * By password.
   * @throws {HalError} `Unauthenticated` with one text, after the same work, for an unknown organisation, person or password; `RateLimited`.
   */
  async withPassword({ organisation, userName, password, returnTo }: PasswordSignIn, facts: IncomingFacts): Promise<SignInOutcome> {
    const found = await this.#organisation(organisation);
    const orgId = found?.orgId ?? NOBODY_ID;
    const user = await this.#store.findByName(orgId, userName);
    const knownAddress = (await this.#parts.sessions.seenBefore(orgId, user?.id ?? NOBODY_ID, [this.#trait(orgId, 'address', facts.address)])).seen[0] !== 0;
    const attempt = { orgId, account: userName, address: facts.address, knownAddress };
    await this.#parts.throttle.begin(attempt);
    const right = await verifyPassword(password, user?.passwordHash);
    if (!right || found === undefined || user === undefined || !found.policy.passwords || !(await this.#mayEnter(orgId, user))) {
      if (found !== undefined) await this.#refuse(found.orgId, user, 'password', userName, facts);
      throw refused();
    }
    const { failures, suspectAddress } = await this.#parts.throttle.succeeded(attempt);
    if (user.passwordHash !== null && isOutdated(user.passwordHash)) await this.#store.renewHash(orgId, user.id, user.passwordHash, await hashPassword(password));
    return this.#proven({ orgId, user, method: 'password', failures, suspectAddress, secondFactor: false, returnTo: ownPath(returnTo) }, found.policy, facts);
  }

  async complete(identity: ExternalIdentity, facts: IncomingFacts, returnTo: string | undefined): Promise<SignInOutcome> {
    const { orgId, providerId } = identity;
    const [organisation, rules] = await Promise.all([this.#organisation(orgId), this.#parts.providers.rules(orgId, providerId)]);
    if (organisation === undefined || rules === undefined || !rules.enabled) throw refused();
    const user = await this.#externalUser(identity, rules, facts);
    if (user === undefined || !user.active) {
      await this.#refuse(orgId, user, 'provider', identity.userName, facts);
      throw refused();
    }
    // Roles first: whether they may enter can depend on the organisation's state, what they may do depends on these.
    await this.#parts.roleMappings.apply({ orgId, userId: user.id, providerId, mapping: rules.roleMapping, groups: identity.groups, requestId: facts.requestId });
    if (!(await this.#mayEnter(orgId, user))) {
      await this.#refuse(orgId, user, 'provider', identity.userName, facts);
      throw refused();
    }
    return this.#proven(
      { orgId, user, method: rules.kind, providerId, logout: identity.logout, failures: 0, suspectAddress: false, secondFactor: identity.secondFactor, returnTo: ownPath(returnTo) },
      organisation.policy,
      facts,
    );
  }

  /** Begins a sign-in by a passkey, which itself says who it is of. @throws {HalError} `Unauthenticated` for an unknown organisation. */
  async beginPasskey(organisation: string, site: Site): Promise<{ challengeId: string; options: PublicKeyCredentialRequestOptionsJSON }> {
    const found = await this.#organisation(organisation);
    if (found === undefined) throw refused();
    return this.#parts.factors.beginAssertion(found.orgId, undefined, site);
  }

  /** A passkey that verified its person is both factors at once. @throws {HalError} `Unauthenticated`, `RateLimited`. */
  async withPasskey(organisation: string, challengeId: string, response: AuthenticationResponseJSON, facts: IncomingFacts, returnTo: string | undefined): Promise<SignInOutcome> {
    await this.#parts.throttle.beginAt(facts.address);
    const found = await this.#organisation(organisation);
    const proof = found === undefined ? undefined : await this.#parts.factors.finishAssertion(found.orgId, challengeId, response);
    const user = found === undefined || proof === undefined ? undefined : await this.#store.find(found.orgId, proof.userId);
    if (found === undefined || user === undefined || !(await this.#mayEnter(found.orgId, user))) {
      if (found !== undefined) await this.#refuse(found.orgId, user, 'passkey', undefined, facts);
      throw refused();
    }
    await this.#parts.throttle.succeededAt(facts.address);
    return this.#proven({ orgId: found.orgId, user, method: 'passkey', failures: 0, suspectAddress: false, secondFactor: true, returnTo: ownPath(returnTo) }, found.policy, facts);
  }

  /** A browser session of an API key: may what the key may, ends with it. @throws {HalError} `Unauthenticated`, `RateLimited`. */
  async withKey(key: string, facts: IncomingFacts, returnTo: string | undefined): Promise<SignInOutcome> {
    await this.#parts.throttle.beginAt(facts.address);
    const credential = await this.#parts.apiKeys.authenticate(key);
    if (credential === undefined) throw new HalError('Unauthenticated', 'this is not a valid API key');
    await this.#parts.throttle.succeededAt(facts.address);
    const { orgId, id } = credential;
    const act = { orgId, action: 'session.create', result: 'succeeded', actor: { kind: 'api-key', id }, requestId: facts.requestId, risk: 0, details: { method: 'api-key' }, personal: personalOf(facts) } as const;
    const opened = await this.#parts.sessions.open({ orgId, apiKeyId: id, method: 'api-key', secondFactor: false, risk: 0 }, facts, act);
    return { kind: 'session', ...opened, location: ownPath(returnTo) };
  }

  /** The sign-in that the pending cookie names. @throws {HalError} `Unauthenticated` when it has expired or was finished. */
  async pending(cookie: string | undefined): Promise<PendingSignIn> {
    const [orgId = '', challengeId = ''] = (cookie ?? '').split('.');
    const payload = /^[0-9a-f-]{36}$/.test(orgId) ? pendingPayload.safeParse(await this.#parts.challenges.read(orgId, challengeId, 'second-factor')) : undefined;
    if (payload?.success !== true) throw new HalError('Unauthenticated', 'the sign-in has expired; begin again');
    return { ...payload.data, orgId, challengeId };
  }

  /** What may be shown, with a WebAuthn challenge when an authenticator may answer. */
  async factorsOwed(pending: PendingSignIn, site: Site): Promise<{ totp: boolean; recovery: boolean; enrol: boolean; webauthn: { challengeId: string; options: PublicKeyCredentialRequestOptionsJSON } | undefined }> {
    const { factors, recoveryCodes } = await this.#parts.factors.list(pending);
    const kinds = new Set(factors.map((factor) => factor.kind));
    return {
      totp: kinds.has('totp'),
      recovery: recoveryCodes > 0,
      enrol: pending.enrol,
      webauthn: kinds.has('webauthn') ? await this.#parts.factors.beginAssertion(pending.orgId, pending.userId, site) : undefined,
    };
  }

  /** @throws {HalError} `Unauthenticated` for a wrong or used factor, `RateLimited`. */
  async withFactor(pending: PendingSignIn, proof: FactorProof, facts: IncomingFacts): Promise<SignInOutcome> {
    const { orgId, userId } = pending;
    if (!(await this.prove({ orgId, userId }, proof, facts))) {
      await this.#refuse(orgId, { id: userId }, proof.kind, undefined, facts);
      throw new HalError('Unauthenticated', 'this factor is wrong, or was used before');
    }
    return this.#finish(pending, facts);
  }

  /** Checks a factor of a person, whatever it is for. @throws {HalError} `RateLimited`. */
  async prove(person: { readonly orgId: string; readonly userId: string }, proof: FactorProof, facts: IncomingFacts): Promise<boolean> {
    const { orgId, userId } = person;
    await this.#parts.throttle.beginFactor(orgId, userId);
    const right = await this.#shows(person, proof, facts);
    if (right) await this.#parts.throttle.factorSucceeded(orgId, userId);
    return right;
  }

  /** Adds the first factor on the way in, where the organisation requires one. @throws {HalError} `Forbidden` when the person has one. */
  async enrolTotp(pending: PendingSignIn, issuer: string): Promise<TotpEnrolment> {
    await this.#assertEnrols(pending);
    return this.#parts.factors.beginTotp(pending, { issuer, account: pending.userName });
  }

  async enrolPasskey(pending: PendingSignIn, site: Site, issuer: string): Promise<{ challengeId: string; options: PublicKeyCredentialCreationOptionsJSON }> {
    await this.#assertEnrols(pending);
    return this.#parts.factors.beginPasskey(pending, site, { issuer, account: pending.userName });
  }

  /** @returns the session with the recovery codes to be shown now. */
  async finishEnrolment(pending: PendingSignIn, answer: { readonly challengeId: string; readonly name: string } & ({ readonly code: string } | { readonly response: RegistrationResponseJSON }), facts: IncomingFacts): Promise<{ outcome: SignInOutcome; recoveryCodes: RecoveryCodes }> {
    await this.#assertEnrols(pending);
    const { challengeId, name } = answer;
    const actFor = (id: string): Act => this.#personAct(pending, 'factor.create', { kind: 'factor', id }, facts);
    const recoveryCodes =
      'code' in answer ? await this.#parts.factors.finishTotp(pending, challengeId, answer.code, name, actFor) : await this.#parts.factors.finishPasskey(pending, challengeId, answer.response, name, actFor);
    return { outcome: await this.#finish(pending, facts), recoveryCodes };
  }

  async policy(caller: Caller): Promise<SignInPolicy> {
    return this.#store.policy(caller.orgId);
  }

  async setPolicy(caller: Caller, policy: SignInPolicy): Promise<SignInPolicy> {
    await this.#store.setPolicy(caller.orgId, policy, actOf(caller, 'sign-in-policy.change', { kind: 'organisation', id: caller.orgId }, { ...policy }));
    return policy;
  }

  async #shows({ orgId, userId }: { readonly orgId: string; readonly userId: string }, proof: FactorProof, facts: IncomingFacts): Promise<boolean> {
    switch (proof.kind) {
      case 'totp':
        return this.#parts.factors.checkTotp({ orgId, userId }, proof.code);
      case 'recovery':
        return this.#parts.factors.checkRecoveryCode({ orgId, userId }, proof.code, this.#personAct({ orgId, userId }, 'factor.use-recovery-code', { kind: 'user', id: userId }, facts));
      case 'webauthn':
        return (await this.#parts.factors.finishAssertion(orgId, proof.challengeId, proof.response))?.userId === userId;
    }
  }

  /** The end of every way that proved who somebody is. */
  async #proven(proven: Proven, policy: SignInPolicy, facts: IncomingFacts): Promise<SignInOutcome> {
    const { orgId, user, method } = proven;
    const hasFactor = user.totp || user.webauthn;
    // A provider's own second factor counts, and so does one that HAL9 knows of: who has one and typed a password is asked, whatever the policy.
    const owed = !proven.secondFactor && (policy.requireSecondFactor || (hasFactor && (method === 'password' || method === 'ldap')));
    if (!owed || method === 'passkey') return this.#open(proven, facts);
    const { providerId, logout, returnTo, failures, suspectAddress } = proven;
    const payload: z.input<typeof pendingPayload> = { userId: user.id, userName: user.userName, method, providerId, logout: logout === undefined ? undefined : { ...logout }, returnTo, failures, suspectAddress, enrol: !hasFactor };
    const id = await this.#parts.challenges.create(orgId, 'second-factor', payload, PENDING_SECONDS);
    // Nobody is in yet: the act comes with the session.
    noActHere('written-with-its-cause');
    return { kind: 'second-factor', cookies: [pendingCookie(`${orgId}.${id}`, PENDING_SECONDS, facts.https)], location: SECOND_FACTOR_PAGE };
  }

  async #finish(pending: PendingSignIn, facts: IncomingFacts): Promise<SignInOutcome> {
    const { orgId, challengeId, userId } = pending;
    const user = await this.#store.find(orgId, userId);
    if (user === undefined || !(await this.#mayEnter(orgId, user)) || (await this.#parts.challenges.consume(orgId, challengeId, 'second-factor')) === undefined) throw refused();
    const outcome = await this.#open({ ...pending, user, secondFactor: true }, facts);
    return { ...outcome, cookies: [...outcome.cookies, pendingCookie('', 0, facts.https)] };
  }

  async #open({ orgId, user, method, providerId, logout, failures, suspectAddress, secondFactor, returnTo }: Proven, facts: IncomingFacts): Promise<SignInOutcome> {
    const traits = [
      this.#trait(orgId, 'address', facts.address),
      this.#trait(orgId, 'agent', facts.userAgent ?? ''),
      this.#trait(orgId, 'hour', String(new Date().getUTCHours())),
    ];
    const { sessions: earlier, seen } = await this.#parts.sessions.seenBefore(orgId, user.id, traits);
    const [sameAddress = 0, sameAgent = 0, sameHour = 0] = seen;
    const risk = riskOfSignIn({ earlier, sameAddress, sameAgent, sameHour, failures, suspectAddress, secondFactor });
    const act = { orgId, action: 'session.create', result: 'succeeded', actor: { kind: 'user', id: user.id }, requestId: facts.requestId, risk, details: { method, secondFactor }, personal: personalOf(facts) } as const;
    const opened = await this.#parts.sessions.open({ orgId, userId: user.id, method: method satisfies SessionMethod, providerId, logout, secondFactor, risk, traits }, facts, act);
    return { kind: 'session', ...opened, location: returnTo };
  }

  async #externalUser(identity: ExternalIdentity, rules: ProviderRules, facts: IncomingFacts): Promise<SignInUser | undefined> {
    const { orgId, providerId, subject, userName } = identity;
    const link = { orgId, providerId, subject };
    const known = await this.#store.findLinked(link);
    if (known !== undefined) return known;
    const actFor = (action: string) => (userId: string): Act => ({
      orgId,
      action,
      result: 'succeeded',
      actor: { kind: 'identity-provider', id: providerId },
      resource: { kind: 'user', id: userId },
      requestId: facts.requestId,
      risk: 0,
      details: {},
      personal: personalOf(facts),
    });
    for (const by of linkables(identity, rules)) {
      const userId = await this.#store.findLinkable(orgId, by);
      // A provider speaks for nobody who may do more than whoever set it up (docs/decisions/0270).
      if (userId === undefined || !(await this.#parts.authority.coversPerson(rules.vouches, orgId, userId))) continue;
      const linked = await this.#store.link(link, by, userId, actFor('user.link')(userId));
      if (linked !== undefined) return linked;
    }
    if (!rules.provisions) return undefined;
    const userId = randomUUID();
    const { email = null, emailVerified, displayName = null } = identity;
    return this.#store.provision({ ...link, userId, userName, email, emailVerified, displayName }, actFor('user.create')(userId));
  }

  /** Active, and neither the organisation nor one above it is suspended. */
  async #mayEnter(orgId: string, user: SignInUser): Promise<boolean> {
    return user.active && (await this.#parts.grants.of(orgId, user.id)) !== undefined;
  }

  async #organisation(slugOrId: string): Promise<SignInOrganisation | undefined> {
    const found = await this.#store.findOrganisationAcrossOrganisations(slugOrId.toLowerCase());
    return found === undefined || found.suspended ? undefined : found;
  }

  async #refuse(orgId: string, user: { readonly id: string } | undefined, method: string, userName: string | undefined, facts: IncomingFacts): Promise<void> {
    await this.#store.recordRefusal({
      orgId,
      action: 'session.refuse',
      result: 'refused',
      actor: { kind: 'nobody', id: 'nobody' },
      resource: { kind: 'user', id: user?.id ?? 'unknown' },
      requestId: facts.requestId,
      risk: 0,
      details: { method },
      personal: { ...personalOf(facts), ...(userName === undefined ? {} : { userName }) },
    });
  }

  /** Asked at each step: meanwhile somebody may have added a factor, which a password alone must not add to. @throws {HalError} `Forbidden`. */
  async #assertEnrols({ orgId, userId, enrol }: PendingSignIn): Promise<void> {
    if (!enrol || (await this.#parts.factors.list({ orgId, userId })).factors.length > 0) throw new HalError('Forbidden', 'there is a second factor already; show it');
  }

  #personAct({ orgId, userId }: { readonly orgId: string; readonly userId: string }, action: string, resource: Act['resource'], facts: IncomingFacts): Act {
    return { orgId, action, result: 'succeeded', actor: { kind: 'user', id: userId }, resource, requestId: facts.requestId, risk: 0, details: {}, personal: personalOf(facts) };
  }

  #trait(orgId: string, kind: Trait['kind'], text: string): Trait {
    return { kind, hash: this.#parts.keys.hmac(orgId, `sign-in-${kind}`, text) };
  }
}

/** By what the provider's word is enough to know somebody who exists. */
function linkables({ userName, userNameProven, email, emailVerified }: ExternalIdentity, { trustsEmail }: ProviderRules): Linkable[] {
  return [...(userNameProven ? [{ name: userName }] : []), ...(trustsEmail && emailVerified && email !== undefined ? [{ address: email }] : [])];
}

/** One text for all causes. */
function refused(): HalError {
  return new HalError('Unauthenticated', 'the sign-in is refused: check the organisation, the name and the password');
}

/**
 * A path of this site, for going there after a sign-in: never another site, which a link could name.
 * @returns the console's first page for anything else.
 */
export function ownPath(returnTo: string | undefined): string {
  const base = 'http://own.invalid';
  if (returnTo === undefined || !returnTo.startsWith('/') || !URL.canParse(returnTo, base)) return HOME;
  const url = new URL(returnTo, base);
  // Dots are resolved by now: `/..//elsewhere` has become `//elsewhere`, which browsers take for another host.
  return url.origin === base && !url.pathname.startsWith('//') ? `${url.pathname}${url.search}${url.hash}` : HOME;
}
