import { randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { RoleBindingStore, type RoleBindingFilter, type RoleBindingRecord } from '../../database/role-bindings.ts';
import { TeamStore } from '../../database/teams.ts';
import { UserStore } from '../../database/users.ts';
import { HalError } from '../../schemas/errors.ts';
import type { RoleConditions } from '../../schemas/rest/roles.ts';
import { actOf } from '../audit/act.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import type { RoleBook } from './role-book.ts';
import { findRole, scopesOf } from './roles.ts';

export type RoleBinding = RoleBindingRecord;

export interface RoleBindingDraft {
  /** Exactly one of user and team. */
  userId?: string | undefined;
  teamId?: string | undefined;
  role: string;
  conditions: RoleConditions;
}

/** Who has which role in the caller's organisation, under which conditions. */
export class RoleBindings {
  readonly #store: RoleBindingStore;
  readonly #users: UserStore;
  readonly #teams: TeamStore;
  readonly #book: RoleBook;
  readonly #authority: Authority;

  constructor(database: Database, book: RoleBook, authority: Authority) {
    this.#store = new RoleBindingStore(database);
    this.#users = new UserStore(database);
    this.#teams = new TeamStore(database);
    this.#book = book;
    this.#authority = authority;
  }

  /** Newest first, at most `limit`; `before` continues a page. */
  async list(caller: Caller, filter: RoleBindingFilter, limit: number, before?: { createdAt: Date; id: string }): Promise<RoleBinding[]> {
    return this.#store.list(caller.orgId, filter, limit, before);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<RoleBinding> {
    const binding = await this.#store.find(caller.orgId, id);
    if (binding === undefined) throw missing();
    return binding;
  }

  /**
   * Gives somebody a role.
   * @throws {HalError} `InvalidInput` for a role, user or team that is not there; `Forbidden` when the role grants more than the caller has.
   */
  async create(caller: Caller, { userId, teamId, role, conditions }: RoleBindingDraft): Promise<RoleBinding> {
    await this.#assertMayGive(caller, role);
    await this.#assertThere(caller, userId, teamId);
    const id = randomUUID();
    const act = actOf(caller, 'role-binding.create', { kind: 'role-binding', id }, { role, userId: userId ?? null, teamId: teamId ?? null, conditions: Object.keys(conditions).sort() });
    return this.#store.insert(caller.orgId, { id, userId: userId ?? null, teamId: teamId ?? null, role, conditions }, act);
  }

  /** Replaces the conditions. @throws {HalError} `NotFound`; `Forbidden` as `create`; `Conflict` for the last owner. */
  async setConditions(caller: Caller, id: string, conditions: RoleConditions): Promise<RoleBinding> {
    const { role } = await this.get(caller, id);
    await this.#assertMayGive(caller, role);
    const binding = await this.#store.setConditions(caller.orgId, id, conditions, actOf(caller, 'role-binding.change', { kind: 'role-binding', id }, { role, conditions: Object.keys(conditions).sort() }));
    if (binding === undefined) throw missing();
    return binding;
  }

  /** Takes a role from somebody. @throws {HalError} `NotFound`; `Forbidden` when the role grants more than the caller has; `Conflict` for the last owner. */
  async remove(caller: Caller, id: string): Promise<void> {
    const { role, userId, teamId } = await this.get(caller, id);
    const own = await this.#book.own(caller.orgId);
    // Nobody gains by a role that is no more.
    if (findRole(role, own) !== undefined) this.#authority.assertMayTake(caller, scopesOf(role, own));
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'role-binding.delete', { kind: 'role-binding', id }, { role, userId, teamId })))) throw missing();
  }

  /** @throws {HalError} `InvalidInput` for a role that is not there; `Forbidden`. */
  async #assertMayGive(caller: Caller, name: string): Promise<void> {
    const own = await this.#book.own(caller.orgId);
    const role = findRole(name, own);
    if (role === undefined) throw new HalError('InvalidInput', 'no such role', { errors: [{ path: '/role', message: 'is neither one of HAL9 nor of the organisation' }] });
    await this.#authority.assertMayGiveRole(caller, role, own);
  }

  async #assertThere(caller: Caller, userId: string | undefined, teamId: string | undefined): Promise<void> {
    if (userId !== undefined && (await this.#users.find(caller.orgId, userId)) === undefined) throw new HalError('InvalidInput', 'no such user', { errors: [{ path: '/userId', message: 'is nobody of this organisation' }] });
    if (teamId !== undefined && (await this.#teams.find(caller.orgId, teamId)) === undefined) throw new HalError('InvalidInput', 'no such team', { errors: [{ path: '/teamId', message: 'is no team of this organisation' }] });
  }
}

function missing(): HalError {
  return new HalError('NotFound', 'no such binding');
}
