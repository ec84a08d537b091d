import type { Database } from '../../database/database.ts';
import { MappedBindingStore, type MappedChange } from '../../database/mapped-bindings.ts';
import { HalError, type FieldError } from '../../schemas/errors.ts';
import type { RoleMapping } from '../../schemas/rest/identity-providers.ts';
import { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import { Grants } from './grants.ts';
import { findRole, OWNER, type Role } from './roles.ts';

export interface MappedSignIn {
  readonly orgId: string;
  readonly userId: string;
  readonly providerId: string;
  readonly mapping: RoleMapping;
  /** The provider's groups of the person, as the provider writes them. */
  readonly groups: readonly string[];
  readonly requestId: string;
}

export interface RoleMappingOptions {
  /** HAL9_MAPPED_OWNERS: whether groups of a provider may make owners. */
  readonly ownersAllowed: boolean;
}

/** Roles that come from an identity provider's groups. They follow the groups: what is no longer given is taken at the next sign-in. */
export class RoleMappings {
  readonly #store: MappedBindingStore;
  readonly #authority: Authority;
  readonly #options: RoleMappingOptions;

  constructor(database: Database, options: RoleMappingOptions) {
    this.#store = new MappedBindingStore(database);
    this.#authority = new Authority(new Grants(database));
    this.#options = options;
  }

  /**
   * Makes the person's mapped roles what their groups say now. Roles that people gave stay.
   * @returns what changed.
   */
  async apply(signIn: MappedSignIn): Promise<MappedChange> {
    const { orgId, userId, providerId, mapping, groups, requestId } = signIn;
    const roles = mappedRoles(mapping, groups).filter((role) => role !== OWNER || this.#options.ownersAllowed);
    return this.#store.reconcile({ orgId, userId, providerId, roles }, (change) => ({
      orgId,
      action: 'role-mapping.apply',
      result: 'succeeded',
      actor: { kind: 'identity-provider', id: providerId },
      resource: { kind: 'user', id: userId },
      requestId,
      risk: 0,
      details: { added: change.added, removed: change.removed },
      personal: {},
    }));
  }

  async ownRoles(orgId: string): Promise<ReadonlyMap<string, Role>> {
    return new Map((await this.#store.ownRoles(orgId)).map((role) => [role.name, role]));
  }

  /**
   * Who writes a mapping hands on roles, to people yet unknown.
   * @throws {HalError} `Forbidden` for a role that may do more than the caller, here or below, and for `owner` where the installation
   *   does not allow that; `InvalidInput` for one that is not there.
   */
  async assertMayMap(caller: Caller, mapping: RoleMapping): Promise<void> {
    const own = await this.ownRoles(caller.orgId);
    const errors: FieldError[] = [];
    for (const [path, role] of rolesOf(mapping)) {
      const found = findRole(role, own);
      if (found === undefined) {
        errors.push({ path: `/roleMapping${path}`, message: `there is no role "${role}"` });
        continue;
      }
      if (role === OWNER && !this.#options.ownersAllowed) throw new HalError('Forbidden', 'groups of a provider cannot make owners here; HAL9_MAPPED_OWNERS would allow it');
      await this.#authority.assertMayGiveRole(caller, found, own);
    }
    if (errors.length > 0) throw new HalError('InvalidInput', 'the role mapping names roles that are not there', { errors });
  }
}

/** The roles that a mapping gives to a member of these groups. Names of groups are compared exactly. */
export function mappedRoles(mapping: RoleMapping, groups: readonly string[]): string[] {
  const roles = new Set(mapping.default);
  for (const group of groups) {
    if (Object.hasOwn(mapping.groups, group)) for (const role of mapping.groups[group] ?? []) roles.add(role);
  }
  return [...roles];
}

function* rolesOf(mapping: RoleMapping): Generator<[path: string, role: string]> {
  for (const [index, role] of mapping.default.entries()) yield [`/default/${index}`, role];
  for (const [group, roles] of Object.entries(mapping.groups)) {
    for (const [index, role] of roles.entries()) yield [`/groups/${group.replaceAll('~', '~0').replaceAll('/', '~1')}/${index}`, role];
  }
}
