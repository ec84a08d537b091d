import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { ScimStore, type ScimGroupRecord, type ScimGroupValues, type ScimUserRecord, type ScimUserValues } from '../../database/scim.ts';
import type { ScimSearch } from '../../database/scim-search.ts';
import { HalError } from '../../schemas/errors.ts';
import { ScimFailure, scimExtras, scimGroupBody, scimUserBody, type ScimGroupBody, type ScimOperation, type ScimQuery, type ScimUserBody } from '../../schemas/rest/scim.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from './caller.ts';
import { Grants } from './grants.ts';
import { covers } from './permissions.ts';
import { scopesOf } from './roles.ts';
import { parseFilter } from './scim-filter.ts';
import { applyPatch, GROUP_SHAPE, USER_SHAPE } from './scim-patch.ts';
import { extrasOf, groupResource, isWanted, primaryIndex, project, userResource, versionOf, type ScimResource } from './scim-resources.ts';

export interface ScimOptions {
  /** Where people reach HAL9, without a slash at the end. */
  readonly publicUrl: string;
  /** HAL9_MAPPED_OWNERS. */
  readonly ownersAllowed: boolean;
}

export interface ScimPage {
  readonly total: number;
  readonly startIndex: number;
  readonly resources: readonly ScimResource[];
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Value of `If-Match`; undefined when there is none. */
type Condition = string | undefined;

/**
 * Users and groups as a provisioning client writes them: a SCIM user is a user, a SCIM group is a team, so that roles bound to the team
 * are the roles of the group. Whoever holds `scim:write` decides who there is and who is in which team; owners are beyond
 * it, and so is who, or what team, may do more than an administrator. Deactivation ends sessions, keys and streams within a second, and the last owner stays.
 */
export class Scim {
  readonly #store: ScimStore;
  readonly #grants: Grants;
  readonly #ownersAllowed: boolean;
  readonly #base: string;

  constructor(database: Database, options: ScimOptions) {
    this.#store = new ScimStore(database, options);
    this.#grants = new Grants(database);
    this.#ownersAllowed = options.ownersAllowed;
    this.#base = `${options.publicUrl}/scim/v2`;
  }

  /** @throws {ScimFailure} `invalidFilter`, `invalidPath`. */
  async listUsers(caller: Caller, query: ScimQuery): Promise<ScimPage> {
    const { total, items } = await this.#store.searchUsers(caller.orgId, searchOf(query));
    return { total, startIndex: query.startIndex, resources: items.map((user) => project(userResource(user, this.#base), query.attributes, query.excludedAttributes)) };
  }

  /** @throws {HalError} `NotFound`. */
  async getUser(caller: Caller, id: string): Promise<ScimResource> {
    return userResource(found(await this.#store.findUser(caller.orgId, known(id))), this.#base);
  }

  /** @throws {HalError} `Conflict` when the name is taken. */
  async createUser(caller: Caller, body: ScimUserBody): Promise<ScimResource> {
    const id = randomUUID();
    const created = await this.#store.createUser(caller.orgId, id, userValues(body), actOf(caller, 'user.create', { kind: 'user', id }, { by: 'scim', active: body.active }));
    return userResource(created, this.#base);
  }

  /** Replaces all that can be written. @throws {HalError} `NotFound`, `PreconditionFailed`, `Conflict`, `Forbidden` for an owner's name or address. */
  async replaceUser(caller: Caller, id: string, body: ScimUserBody, condition: Condition): Promise<ScimResource> {
    return this.#changeUser(caller, id, condition, () => userValues(body));
  }

  /** As `replaceUser`. @throws {ScimFailure} as {@link applyPatch}. */
  async patchUser(caller: Caller, id: string, operations: readonly ScimOperation[], condition: Condition): Promise<ScimResource> {
    return this.#changeUser(caller, id, condition, (user) => userValues(valid(scimUserBody, applyPatch(writableUser(user), operations, USER_SHAPE))));
  }

  /** Deletes the person. @throws {HalError} `NotFound`, `PreconditionFailed`; `Conflict` for the last owner. */
  async deleteUser(caller: Caller, id: string, condition: Condition): Promise<void> {
    const act = actOf(caller, 'user.delete', { kind: 'user', id }, { by: 'scim' });
    if (!(await this.#store.deleteUser(caller.orgId, known(id), act, (user) => assertVersion(userResource(user, this.#base), condition)))) throw missing();
  }

  /** @throws {ScimFailure} `invalidFilter`, `invalidPath`. */
  async listGroups(caller: Caller, query: ScimQuery): Promise<ScimPage> {
    const { total, items } = await this.#store.searchGroups(caller.orgId, searchOf(query), isWanted('members', query.attributes, query.excludedAttributes));
    return { total, startIndex: query.startIndex, resources: items.map((group) => project(groupResource(group, this.#base), query.attributes, query.excludedAttributes)) };
  }

  /** @throws {HalError} `NotFound`. */
  async getGroup(caller: Caller, id: string): Promise<ScimResource> {
    return groupResource(found(await this.#store.findGroup(caller.orgId, known(id))), this.#base);
  }

  /** @throws {HalError} `Conflict` when the name is taken; {ScimFailure} `invalidValue` for a member that is not there. */
  async createGroup(caller: Caller, body: ScimGroupBody): Promise<ScimResource> {
    const id = randomUUID();
    const created = await this.#store.createGroup(caller.orgId, id, groupValues(body), actOf(caller, 'team.create', { kind: 'team', id }, { by: 'scim', members: body.members.length }));
    return groupResource(created, this.#base);
  }

  /** @throws {HalError} as `replaceUser`; `Forbidden` when the members of the team are owners. */
  async replaceGroup(caller: Caller, id: string, body: ScimGroupBody, condition: Condition): Promise<ScimResource> {
    return this.#changeGroup(caller, id, condition, () => groupValues(body));
  }

  /** As `replaceGroup`. @throws {ScimFailure} as {@link applyPatch}. */
  async patchGroup(caller: Caller, id: string, operations: readonly ScimOperation[], condition: Condition): Promise<ScimResource> {
    return this.#changeGroup(caller, id, condition, (group) => {
      const writable = { displayName: group.name, ...(group.externalId === null ? {} : { externalId: group.externalId }), members: group.members.map((member) => ({ value: member.id })) };
      return groupValues(valid(scimGroupBody, applyPatch(writable, operations, GROUP_SHAPE)));
    });
  }

  /** @throws {HalError} `NotFound`, `PreconditionFailed`; `Conflict` while there are teams below it; `Forbidden` when its members are owners. */
  async deleteGroup(caller: Caller, id: string, condition: Condition): Promise<void> {
    const act = actOf(caller, 'team.delete', { kind: 'team', id }, { by: 'scim' });
    if (!(await this.#store.deleteGroup(caller.orgId, known(id), act, (group) => assertVersion(groupResource(group, this.#base), condition)))) throw missing();
  }

  async #changeUser(caller: Caller, id: string, condition: Condition, next: (user: ScimUserRecord) => ScimUserValues): Promise<ScimResource> {
    const mighty = !this.#ownersAllowed && exceedsAdministrator(await this.#grants.atMost(caller.orgId, known(id)));
    const changed = await this.#store.changeUser(caller.orgId, known(id), (user) => {
      assertVersion(userResource(user, this.#base), condition);
      const values = next(user);
      // Whoever may write an address could read the mail by which a password is set anew.
      if (mighty && (values.email !== user.email || values.userName !== user.userName)) throw beyond('the person');
      const action = values.active === user.active ? 'user.change' : values.active ? 'user.activate' : 'user.deactivate';
      return { values, act: actOf(caller, action, { kind: 'user', id }, { by: 'scim', fields: changedFields(user, values) }) };
    });
    return userResource(found(changed), this.#base);
  }

  async #changeGroup(caller: Caller, id: string, condition: Condition, next: (group: ScimGroupRecord) => ScimGroupValues): Promise<ScimResource> {
    const mighty = !this.#ownersAllowed && exceedsAdministrator(await this.#grants.ofTeam(caller.orgId, known(id)));
    const changed = await this.#store.changeGroup(caller.orgId, known(id), (group) => {
      assertVersion(groupResource(group, this.#base), condition);
      const values = next(group);
      const before = new Set(group.members.map((member) => member.id));
      const after = new Set(values.members);
      const added = [...after].filter((member) => !before.has(member));
      const removed = [...before].filter((member) => !after.has(member));
      if (mighty && added.length > 0) throw beyond('the team');
      return { values, act: actOf(caller, added.length + removed.length > 0 ? 'team.change-members' : 'team.change', { kind: 'team', id }, { by: 'scim', added, removed }) };
    });
    return groupResource(found(changed), this.#base);
  }
}

const ADMINISTRATOR = scopesOf('admin', new Map());

/** Whether somebody, or a team, may do what is not a provisioning client's to give. */
function exceedsAdministrator(scopes: readonly string[]): boolean {
  return scopes.some((scope) => !covers(ADMINISTRATOR, scope));
}

function beyond(what: string): ScimFailure {
  return new ScimFailure('Forbidden', 'mutability', `${what} may do more than an administrator and is changed by people only; HAL9_MAPPED_OWNERS would allow it`);
}

function searchOf(query: ScimQuery): ScimSearch {
  return {
    filter: query.filter === undefined ? undefined : parseFilter(query.filter),
    sortBy: query.sortBy,
    descending: query.sortOrder === 'descending',
    startIndex: query.startIndex,
    count: query.count,
  };
}

/** The part of a user that a client may change, as it wrote it. */
function writableUser(user: ScimUserRecord): Record<string, unknown> {
  const resource = { userName: user.userName, externalId: user.externalId, displayName: user.displayName, active: user.active, ...extrasOf(user) };
  return Object.fromEntries(Object.entries(resource).filter(([, value]) => value !== undefined && value !== null));
}

function userValues(body: ScimUserBody): ScimUserValues {
  const { userName, externalId, displayName, active, ...rest } = body;
  const attributes = scimExtras.parse(rest);
  const { emails, name } = attributes;
  const email = emails === undefined || emails.length === 0 ? null : (emails[primaryIndex(emails)]?.value ?? null);
  const parts = [name?.givenName, name?.familyName].filter((part) => part !== undefined).join(' ');
  return { userName, externalId, displayName: displayName ?? name?.formatted ?? (parts === '' ? null : parts.slice(0, 200)), email, active, attributes };
}

function groupValues({ displayName, externalId, members }: ScimGroupBody): ScimGroupValues {
  return { name: displayName, externalId, members: members.map((member) => member.value) };
}

/** Names of the columns that differ; values are personal. */
function changedFields(user: ScimUserRecord, values: ScimUserValues): string[] {
  const fields = (['userName', 'externalId', 'displayName', 'email', 'active'] as const).filter((field) => user[field] !== values[field]);
  return [...fields, ...(JSON.stringify(extrasOf(user)) === JSON.stringify(values.attributes) ? [] : ['attributes'])];
}

/** @throws {ScimFailure} `invalidValue`. */
function valid<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ScimFailure('InvalidInput', 'invalidValue', `the resource would not be valid: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim());
}

/** @throws {HalError} `PreconditionFailed` when the resource is not the one the client knows. */
function assertVersion(resource: ScimResource, condition: Condition): void {
  if (condition === undefined || condition === '*') return;
  const versions = condition.split(',').map((version) => version.trim());
  if (!versions.includes(versionOf(resource))) throw new HalError('PreconditionFailed', 'the resource has changed meanwhile');
}

/** @throws {HalError} `NotFound` for what cannot be an id. */
function known(id: string): string {
  if (!UUID.test(id)) throw missing();
  return id;
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw missing();
  return value;
}

function missing(): HalError {
  return new HalError('NotFound', 'no such resource');
}
