import type { Database } from '../../database/database.ts';
import { RoleStore, type NewRole, type OwnRoles, type RoleRecord } from '../../database/roles.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import { SCOPE_PATTERN } from './permissions.ts';
import { findRole, heirsOf, inheritsItself, isPredefined, OWNER, PREDEFINED_ROLES, scopesOf, type Role } from './roles.ts';

/** A role as people see it. */
export interface RoleEntry extends Role {
  readonly predefined: boolean;
  /** With everything inherited. */
  readonly allScopes: readonly string[];
}

/** The roles there are in the caller's organisation: the predefined ones and its own. */
export class RoleBook {
  readonly #store: RoleStore;
  readonly #authority: Authority;

  constructor(database: Database, authority: Authority) {
    this.#store = new RoleStore(database);
    this.#authority = authority;
  }

  /** Predefined ones first, the smallest at the top; then own ones by name. */
  async list(caller: Caller): Promise<RoleEntry[]> {
    const own = await this.own(caller.orgId);
    return [...PREDEFINED_ROLES, ...own.values()].map((role) => entry(role, own));
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, name: string): Promise<RoleEntry> {
    const own = await this.own(caller.orgId);
    const role = findRole(name, own);
    if (role === undefined) throw missing();
    return entry(role, own);
  }

  async own(orgId: string): Promise<OwnRoles> {
    return byName(await this.#store.list(orgId));
  }

  /**
   * Makes a role.
   * @throws {HalError} `Conflict` when there is one of that name; `InvalidInput` for a malformed scope, an unknown role or a ring of
   *   inheritance; `Forbidden` when it would grant more than the caller has.
   */
  async create(caller: Caller, draft: NewRole): Promise<RoleEntry> {
    return this.#save(caller, draft, 'role.create', (own) => {
      if (own.has(draft.name)) throw new HalError('Conflict', `there is a role ${draft.name} already`);
    });
  }

  /** Replaces a role, for everybody who has it. @throws {HalError} `NotFound`, and as `create`; `Forbidden` also when it grants more than the caller has so far. */
  async replace(caller: Caller, draft: NewRole): Promise<RoleEntry> {
    const before = await this.own(caller.orgId);
    if (before.has(draft.name)) await this.#authority.assertMayGive(caller, scopesOf(draft.name, before));
    return this.#save(caller, draft, 'role.change', (own) => {
      if (!own.has(draft.name)) throw missing();
    });
  }

  /** @throws {HalError} `NotFound`; `Conflict` while somebody has it or a role inherits it. */
  async remove(caller: Caller, name: string): Promise<void> {
    assertOwnName(name);
    const removed = await this.#store.remove(caller.orgId, name, actOf(caller, 'role.delete', { kind: 'role', id: name }), (own, bound) => {
      if (bound > 0) throw new HalError('Conflict', `${bound} ${bound === 1 ? 'binding names' : 'bindings name'} the role; delete them first`);
      const heirs = [...own.values()].filter((role) => role.inherits.includes(name)).map((role) => role.name);
      if (heirs.length > 0) throw new HalError('Conflict', `inherited by ${heirs.join(', ')}`);
    });
    if (!removed) throw missing();
  }

  async #save(caller: Caller, draft: NewRole, action: string, check: (own: OwnRoles) => void): Promise<RoleEntry> {
    assertOwnName(draft.name);
    assertScopes(draft.scopes);
    const own = new Map(await this.own(caller.orgId)).set(draft.name, { ...draft, createdAt: new Date(), updatedAt: new Date() });
    await this.#authority.assertMayGive(caller, scopesOf(draft.name, own));
    // A role that reaches down, itself or by another that inherits it, gives its scopes in organisations where the caller may have none.
    if (draft.reachesDescendants || heirsOf(draft.name, own).some((heir) => heir.reachesDescendants)) await this.#authority.assertMayReach(caller);
    const saved = await this.#store.save(caller.orgId, draft, actOf(caller, action, { kind: 'role', id: draft.name }, { scopes: draft.scopes, inherits: draft.inherits, reachesDescendants: draft.reachesDescendants }), (present) => {
      check(present);
      assertInherits(draft, present);
    });
    return entry(saved, new Map(own).set(saved.name, saved));
  }
}

function entry(role: Role, own: ReadonlyMap<string, Role>): RoleEntry {
  const { name, description, inherits, scopes, reachesDescendants } = role;
  return { name, description, inherits, scopes, reachesDescendants, predefined: isPredefined(name), allScopes: scopesOf(name, own) };
}

function byName(roles: readonly RoleRecord[]): OwnRoles {
  return new Map(roles.map((role) => [role.name, role]));
}

function assertOwnName(name: string): void {
  if (isPredefined(name)) throw new HalError('Conflict', `${name} is one of HAL9's own roles, which are the same everywhere`);
}

function assertScopes(scopes: readonly string[]): void {
  const malformed = scopes.findIndex((scope) => !SCOPE_PATTERN.test(scope));
  if (malformed !== -1) {
    throw new HalError('InvalidInput', 'a scope is malformed', { errors: [{ path: `/scopes/${malformed}`, message: 'expected <resource>:<verb>[:key=value], either part may be *' }] });
  }
}

function assertInherits(draft: NewRole, own: OwnRoles): void {
  const refuse = (message: string): HalError => new HalError('InvalidInput', 'the role cannot inherit so', { errors: [{ path: '/inherits', message }] });
  const unknown = draft.inherits.filter((name) => name !== draft.name && findRole(name, own) === undefined);
  if (unknown.length > 0) throw refuse(`no such role: ${unknown.join(', ')}`);
  if (draft.inherits.includes(OWNER)) throw refuse('bind the role owner itself: only then is the person counted as an owner');
  if (inheritsItself(draft.name, draft.inherits, own)) throw refuse('the role would inherit itself');
}

function missing(): HalError {
  return new HalError('NotFound', 'no such role');
}
