import { HalError } from '../../schemas/errors.ts';
import type { Caller } from './caller.ts';
import { lastingScopes, type Grants } from './grants.ts';
import { covers } from './permissions.ts';

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
    // What is given outlives the hour.
    if (caller.impersonatorId !== undefined && scopes.length > 0) throw new HalError('Forbidden', 'nobody hands anything on while acting as somebody else');
    const excess = await this.#excess(caller, scopes);
    if (excess.length > 0) throw new HalError('Forbidden', `nobody hands on more than they have: ${excess.join(', ')}`);
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
    const set = await this.#grants.of(caller.homeOrgId ?? caller.orgId, caller.actor.id, caller.orgId);
    const lasting = set === undefined ? [] : lastingScopes(set);
    return scopes.filter((scope) => !covers(lasting, scope));
  }
}
