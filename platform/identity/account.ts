import type { Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { SignInStore } from '../../database/sign-ins.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import type { Factors } from './factors.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import type { PasswordLinks } from './password-links.ts';
import { assertAcceptable, hashPassword, verifyPassword } from './passwords.ts';
import { personalOf, type LiveSession, type Sessions } from './sessions.ts';
import type { FactorProof, SignIn } from './sign-in.ts';
import type { SignInThrottle } from './sign-in-throttle.ts';

export interface AccountDependencies {
  readonly database: Database;
  readonly links: PasswordLinks;
  readonly sessions: Sessions;
  readonly signIn: SignIn;
  readonly factors: Factors;
  readonly throttle: SignInThrottle;
  readonly authority: Authority;
}

/** What people do with their own account, and administrators with somebody's. */
export class Account {
  readonly #store: SignInStore;
  readonly #parts: AccountDependencies;

  constructor(parts: AccountDependencies) {
    this.#store = new SignInStore(parts.database);
    this.#parts = parts;
  }

  /**
   * A proof for sensitive things: a factor where the person has one, else the password.
   * @returns the cookie of the session's next token.
   * @throws {HalError} `Unauthenticated` for a wrong one; `Conflict` for people who have neither: they sign in again; `RateLimited`.
   */
  async proveAgain(session: LiveSession, proof: FactorProof | { readonly kind: 'password'; readonly password: string }, facts: IncomingFacts): Promise<string> {
    const userId = personOf(session);
    const { orgId } = session;
    const user = await this.#store.find(orgId, userId);
    if (user === undefined) throw wrong();
    const hasFactor = user.totp || user.webauthn;
    if (!hasFactor && user.passwordHash === null) throw new HalError('Conflict', 'you sign in at a provider; sign out and in again there');
    if (proof.kind === 'password' && hasFactor) throw new HalError('Conflict', 'show a second factor');
    const right = proof.kind === 'password' ? await this.#passwordIs(orgId, user, proof.password, facts) : await this.#parts.signIn.prove({ orgId, userId }, proof, facts);
    if (!right) {
      await this.#store.recordRefusal(this.#act(session, 'session.prove', { kind: 'session', id: session.id }, facts, 'refused'));
      throw wrong();
    }
    return this.#parts.sessions.verified(session, proof.kind !== 'password', facts, this.#act(session, 'session.prove', { kind: 'session', id: session.id }, facts));
  }

  /** Another password; all other sessions of the person end. @throws {HalError} `Unauthenticated` for a wrong present one, `InvalidInput` for a bad next one. */
  async changePassword(session: LiveSession, present: string, next: string, facts: IncomingFacts): Promise<void> {
    const userId = personOf(session);
    const { orgId } = session;
    const user = await this.#store.find(orgId, userId);
    if (user === undefined) throw wrong();
    if (user.passwordHash === null) throw new HalError('Conflict', 'you sign in at a provider and have no password here');
    if (!(await this.#passwordIs(orgId, user, present, facts))) throw wrong();
    await this.#assertGood(orgId, user, next);
    await this.#store.setPassword(orgId, userId, await hashPassword(next), session.id, this.#act(session, 'password.change', { kind: 'user', id: userId }, facts));
    this.#parts.sessions.forget(orgId);
  }

  /**
   * A link by which somebody sets a new password, once, within an hour. For an administrator to pass on.
   * @throws {HalError} `NotFound`; `Forbidden` when the person may do more than the caller.
   */
  async resetLink(caller: Caller, userId: string): Promise<{ link: string; expiresAt: Date }> {
    const user = await this.#store.find(caller.orgId, userId);
    if (user === undefined || !user.active) throw new HalError('NotFound', 'no such active user');
    await this.#parts.authority.assertMayTouch(caller, userId);
    const link = await this.#parts.links.make(caller.orgId, userId, user.passwordHash);
    await this.#store.recordRefusal(actOf(caller, 'password.issue-reset', { kind: 'user', id: userId }));
    return link;
  }

  /** Sets the password that a link allows; all sessions of the person end. Factors stay. @throws {HalError} `NotFound` for a link that does not work (any more); `InvalidInput`; `RateLimited`. */
  async reset(token: string, password: string, facts: IncomingFacts): Promise<void> {
    await this.#parts.throttle.beginAt(facts.address);
    const link = await this.#parts.links.read(token);
    if (link === undefined) throw spent();
    await this.#parts.throttle.succeededAt(facts.address);
    const { orgId, userId } = link;
    const user = await this.#store.find(orgId, userId);
    if (user === undefined || !link.replaces(user.passwordHash)) throw spent();
    await this.#assertGood(orgId, user, password);
    if (!(await this.#parts.links.use(link))) throw spent();
    const act: Act = { orgId, action: 'password.reset', result: 'succeeded', actor: { kind: 'user', id: userId }, resource: { kind: 'user', id: userId }, requestId: facts.requestId, risk: 0, details: {}, personal: personalOf(facts) };
    if (!(await this.#store.setPassword(orgId, userId, await hashPassword(password), undefined, act))) throw spent();
    this.#parts.sessions.forget(orgId);
  }

  /** What the person types to sign in; what an authenticator shows as the account. @throws {HalError} `Unauthenticated` when they are gone. */
  async userName({ orgId, userId }: { readonly orgId: string; readonly userId: string }): Promise<string> {
    const user = await this.#store.find(orgId, userId);
    if (user === undefined) throw wrong();
    return user.userName;
  }

  /** @throws {HalError} `NotFound` for nobody of the caller's organisation. */
  async assertIsThere(caller: Caller, userId: string): Promise<void> {
    if ((await this.#store.find(caller.orgId, userId)) === undefined) throw new HalError('NotFound', 'no such user');
  }

  /** Takes every factor of somebody away who lost them. @throws {HalError} `NotFound`; `Forbidden` when the person may do more than the caller. */
  async removeFactors(caller: Caller, userId: string): Promise<void> {
    if ((await this.#store.find(caller.orgId, userId)) === undefined) throw new HalError('NotFound', 'no such user');
    await this.#parts.authority.assertMayTouch(caller, userId);
    await this.#parts.factors.removeAll({ orgId: caller.orgId, userId }, actOf(caller, 'factor.delete', { kind: 'user', id: userId }));
  }

  /** @throws {HalError} `InvalidInput` for a password that the policy refuses; for a new account. */
  async assertGoodFor(orgId: string, names: readonly (string | null | undefined)[], password: string): Promise<void> {
    const organisation = await this.#store.findOrganisationAcrossOrganisations(orgId);
    assertAcceptable(password, { words: [...names, organisation?.name, organisation?.slug], secondFactor: organisation?.policy.requireSecondFactor ?? false });
  }

  async #assertGood(orgId: string, user: { readonly userName: string; readonly email: string | null; readonly totp: boolean; readonly webauthn: boolean }, password: string): Promise<void> {
    const organisation = await this.#store.findOrganisationAcrossOrganisations(orgId);
    const secondFactor = user.totp || user.webauthn || (organisation?.policy.requireSecondFactor ?? false);
    assertAcceptable(password, { words: [user.userName, user.email, organisation?.name, organisation?.slug], secondFactor });
  }

  async #passwordIs(orgId: string, user: { readonly id: string; readonly userName: string; readonly passwordHash: string | null }, password: string, facts: IncomingFacts): Promise<boolean> {
    // Who is signed in here is known here.
    const attempt = { orgId, account: user.userName, address: facts.address, knownAddress: true };
    await this.#parts.throttle.begin(attempt);
    const right = await verifyPassword(password, user.passwordHash);
    if (right) await this.#parts.throttle.succeeded(attempt);
    return right;
  }

  #act(session: LiveSession, action: string, resource: Act['resource'], facts: IncomingFacts, result: Act['result'] = 'succeeded'): Act {
    return {
      orgId: session.orgId,
      action,
      result,
      actor: { kind: 'user', id: personOf(session) },
      impersonatorId: session.impersonator?.userId,
      resource,
      requestId: facts.requestId,
      risk: this.#parts.sessions.riskOf(session, facts),
      details: {},
      personal: personalOf(facts),
    };
  }
}

/** @throws {HalError} `Forbidden` for a session of a key, or of somebody who acts as another. */
export function personOf(session: LiveSession | undefined): string {
  if (session === undefined || session.userId === null) throw new HalError('Forbidden', 'this needs the session of a person');
  if (session.impersonator !== null) throw new HalError('Forbidden', 'not while you act as somebody else');
  return session.userId;
}

function wrong(): HalError {
  return new HalError('Unauthenticated', 'this proves nothing: wrong, or used before');
}

function spent(): HalError {
  return new HalError('NotFound', 'this link does not work: it was used, has expired, or was cut on its way to you');
}
