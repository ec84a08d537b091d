import { HalError } from '../../schemas/errors.ts';
import type { Caller } from './caller.ts';
import { lastingScopes, type Grants } from './grants.ts';
import { covers } from './permissions.ts';
import { scopesOf, type Role } from './roles.ts';

/** Nobody gives what they do not have, and nobody touches who may do more than they. */
export class Authority {
  readonly #grants: Grants;

  constructor(grants: Grants) {
    this.#grants = grants;
  }

  /**
   * Whether the caller may hand these scopes on, to a key, a role or a person. For people only what they have without conditions
   * counts: what is handed on would work at other times and from other places.
   * @throws {HalError} `Forbidden`, naming what is too much, or for everything while acting as somebody else.
   */
  async assertMayGive(caller: Caller, scopes: readonly string[]): Promise<void> {
    if (scopes.length > 0) this.assertOwnHands(caller);
    const excess = await this.#excess(caller, scopes);
    if (excess.length > 0) throw new HalError('Forbidden', `nobody hands on more than they have: ${excess.join(', ')}`);
  }

  /** What is handed on outlives the hour in which somebody acts as another. @throws {HalError} `Forbidden`. */
  assertOwnHands(caller: Caller): void {
    if (caller.impersonatorId !== undefined) throw new HalError('Forbidden', 'nobody hands anything on while acting as somebody else');
  }

  /** Whether the caller may give a role, with all it inherits and wherever it reaches. @throws {HalError} as `assertMayGive`. */
  async assertMayGiveRole(caller: Caller, role: Role, own: ReadonlyMap<string, Role>): Promise<void> {
    await this.assertMayGive(caller, scopesOf(role.name, own));
    if (role.reachesDescendants) await this.assertMayReach(caller);
  }

  /** What the caller has whenever and from wherever: all that could be handed on. */
  async lasting(caller: Caller): Promise<string[]> {
    if (caller.actor.kind !== 'user') return [...caller.scopes];
    const set = await this.#grants.of(caller.homeOrgId ?? caller.orgId, caller.actor.id, caller.orgId);
    return set === undefined ? [] : lastingScopes(set);
  }

  /** Whether somebody could do, under some circumstances, all that these scopes allow. */
  async personCovers(orgId: string, userId: string, scopes: readonly string[]): Promise<boolean> {
    const theirs = await this.#grants.atMost(orgId, userId);
    return scopes.every((scope) => covers(theirs, scope));
  }

  /** What membership in the team gives. */
  async ofTeam(orgId: string, teamId: string): Promise<string[]> {
    return this.#grants.ofTeam(orgId, teamId);
  }

  /** Whether these scopes cover all that somebody could do under some circumstances. */
  async coversPerson(scopes: readonly string[], orgId: string, userId: string): Promise<boolean> {
    return (await this.#grants.atMost(orgId, userId)).every((scope) => covers(scopes, scope));
  }

  /**
   * Whether the caller may change or end somebody's account.
   * @throws {HalError} `Forbidden` when that person could do more than the caller.
   */
  async assertMayTouch(caller: Caller, userId: string): Promise<void> {
    if (caller.actor.kind === 'user' && caller.actor.id === userId) return;
    this.#assertCovers(caller, await this.#grants.atMost(caller.orgId, userId), 'the person may do more than you');
  }

  /** As `assertMayTouch`, for what a team's members have by it. @throws {HalError} `Forbidden`. */
  async assertMayTouchTeam(caller: Caller, teamId: string): Promise<void> {
    this.#assertCovers(caller, await this.#grants.ofTeam(caller.orgId, teamId), 'the team may do more than you');
  }

  /** Whether the caller may make somebody a member. @throws {HalError} `Forbidden`. */
  async assertMayGiveTeam(caller: Caller, teamId: string): Promise<void> {
    await this.assertMayGive(caller, await this.#grants.ofTeam(caller.orgId, teamId));
  }

  /**
   * Whether the caller may make or give a role that reaches into the organisations below, where they may have nothing: only who has
   * everything here may. @throws {HalError} `Forbidden`.
   */
  async assertMayReach(caller: Caller): Promise<void> {
    await this.assertMayGive(caller, ['*']);
  }

  /** Whether the caller may take these scopes from somebody. @throws {HalError} `Forbidden`. */
  assertMayTake(caller: Caller, scopes: readonly string[]): void {
    this.#assertCovers(caller, scopes, 'the role grants more than you have');
  }

  #assertCovers(caller: Caller, scopes: readonly string[], detail: string): void {
    if (scopes.some((scope) => !covers(caller.scopes, scope))) throw new HalError('Forbidden', detail);
  }

  async #excess(caller: Caller, scopes: readonly string[]): Promise<string[]> {
    const excess = scopes.filter((scope) => !covers(caller.scopes, scope));
    if (excess.length > 0 || caller.actor.kind !== 'user' || scopes.length === 0) return excess;
    const lasting = await this.lasting(caller);
    return scopes.filter((scope) => !covers(lasting, scope));
  }
}
