import { ScimFailure, URN, type ScimFilter, type ScimOperation } from '../../schemas/rest/scim.ts';
import { parsePatchPath, type PatchPath } from './scim-filter.ts';

type Json = Record<string, unknown>;

/** What a PATCH may touch of a kind of resource. Names are compared without case (RFC 7643 2.1). */
export interface PatchShape {
  readonly urn: string;
  /** Attributes that can be written, as the RFC spells them. */
  readonly writable: readonly string[];
  /** Those of them that are lists. */
  readonly lists: readonly string[];
  /** Attributes of an extension, by its URN. */
  readonly extensions: Readonly<Record<string, readonly string[]>>;
  /** Attributes HAL9 does not keep: changes of them do nothing. */
  readonly ignored: readonly string[];
}

export const USER_SHAPE: PatchShape = {
  urn: URN.user,
  writable: ['userName', 'externalId', 'displayName', 'active', 'name', 'nickName', 'title', 'userType', 'preferredLanguage', 'locale', 'timezone', 'emails'],
  lists: ['emails'],
  extensions: { [URN.enterprise]: ['employeeNumber', 'costCenter', 'organization', 'division', 'department', 'manager'] },
  ignored: ['schemas', 'id', 'meta', 'groups', 'password', 'profileUrl', 'phoneNumbers', 'addresses', 'ims', 'photos', 'entitlements', 'roles', 'x509Certificates'],
};

export const GROUP_SHAPE: PatchShape = {
  urn: URN.group,
  writable: ['displayName', 'externalId', 'members'],
  lists: ['members'],
  extensions: {},
  ignored: ['schemas', 'id', 'meta'],
};

const SUBS: Readonly<Record<string, readonly string[]>> = {
  name: ['formatted', 'familyName', 'givenName', 'middleName', 'honorificPrefix', 'honorificSuffix'],
  emails: ['value', 'type', 'primary', 'display'],
  members: ['value', 'type', 'display', '$ref'],
  manager: ['value', 'displayName', '$ref'],
};

/**
 * Applies the operations of a PATCH (RFC 7644 3.5.2) to a resource, in their order, with what Okta and Entra ID do beyond the RFC: paths
 * as keys of a value without path, `op` in any case, members to remove given as value, a filtered element that is not
 * there yet is made.
 * @returns the changed resource; the one given stays as it is. The caller checks that it is valid.
 * @throws {ScimFailure} `invalidPath`, `noTarget`, `invalidValue`, `mutability`.
 */
export function applyPatch(resource: Readonly<Json>, operations: readonly ScimOperation[], shape: PatchShape): Json {
  const changed = structuredClone(resource) as Json;
  for (const { op, path, value } of operations) {
    if (path !== undefined && path.trim() !== '') applyAt(changed, op, locate(parsePatchPath(path), shape), value, true);
    else if (op === 'remove') throw new ScimFailure('InvalidInput', 'noTarget', 'an operation that removes needs a path');
    else applyObject(changed, op, value, shape);
  }
  return changed;
}

interface Location extends PatchPath {
  /** Set for attributes that are not kept. */
  readonly ignored: boolean;
  readonly list: boolean;
}

function applyObject(resource: Json, op: 'add' | 'replace', value: unknown, shape: PatchShape): void {
  if (!isObject(value)) throw new ScimFailure('InvalidInput', 'invalidValue', 'an operation without a path needs an object as its value');
  for (const [key, part] of Object.entries(value)) {
    const extension = Object.keys(shape.extensions).find((urn) => urn.toLowerCase() === key.toLowerCase());
    if (extension !== undefined) {
      if (!isObject(part)) throw new ScimFailure('InvalidInput', 'invalidValue', 'an extension is an object');
      for (const [name, inner] of Object.entries(part)) applyAt(resource, op, locate({ urn: extension, attribute: name, element: undefined, sub: undefined }, shape), inner, false);
      continue;
    }
    applyAt(resource, op, locate(parsePatchPath(key), shape), part, false);
  }
}

/** Finds an attribute whatever the case it was written in. @throws {ScimFailure} `invalidPath`. */
function locate(path: PatchPath, shape: PatchShape): Location {
  const wanted = path.attribute.toLowerCase();
  const same = (name: string): boolean => name.toLowerCase() === wanted;
  const urn = path.urn?.toLowerCase() === shape.urn.toLowerCase() ? undefined : path.urn;
  const extension = urn === undefined ? undefined : Object.keys(shape.extensions).find((known) => known.toLowerCase() === urn.toLowerCase());
  if (urn !== undefined && extension === undefined) return { ...path, ignored: true, list: false };
  const names = extension === undefined ? shape.writable : (shape.extensions[extension] ?? []);
  const attribute = names.find(same);
  if (attribute === undefined) {
    if (extension === undefined && shape.ignored.some(same)) return { ...path, ignored: true, list: false };
    throw new ScimFailure('InvalidInput', 'invalidPath', 'an operation names an attribute that there is not');
  }
  const wantedSub = path.sub?.toLowerCase();
  const sub = wantedSub === undefined ? undefined : SUBS[attribute]?.find((name) => name.toLowerCase() === wantedSub);
  if (wantedSub !== undefined && sub === undefined) throw new ScimFailure('InvalidInput', 'invalidPath', 'an operation names a sub-attribute that there is not');
  const list = shape.lists.includes(attribute);
  if (path.element !== undefined && !list) throw new ScimFailure('InvalidInput', 'invalidPath', 'a filter stands behind an attribute that is no list');
  return { urn: extension, attribute, element: path.element, sub, ignored: false, list };
}

function applyAt(resource: Json, op: ScimOperation['op'], location: Location, value: unknown, direct: boolean): void {
  if (location.ignored) {
    if (direct && ['id', 'meta', 'schemas', 'groups'].includes(location.attribute.toLowerCase())) throw new ScimFailure('InvalidInput', 'mutability', 'an operation changes an attribute that is read only');
    return;
  }
  const target = location.urn === undefined ? resource : child(resource, location.urn);
  if (location.list) applyToList(target, op, location, value);
  else if (location.sub !== undefined) {
    if (op === 'remove') delete child(target, location.attribute)[location.sub];
    else child(target, location.attribute)[location.sub] = value;
  } else if (op === 'remove') delete target[location.attribute];
  else if (isObject(value) && isObject(target[location.attribute])) target[location.attribute] = { ...child(target, location.attribute), ...spelled(location.attribute, value) };
  else target[location.attribute] = isObject(value) ? spelled(location.attribute, value) : value;
}

function applyToList(target: Json, op: ScimOperation['op'], { attribute, element, sub }: Location, value: unknown): void {
  const before = listOf(target[attribute]);
  if (element !== undefined) {
    target[attribute] = changeElements(before, op, attribute, element, sub, value);
    return;
  }
  const given = (Array.isArray(value) ? value : [value]).filter((one) => one !== undefined).map((one) => elementOf(attribute, one));
  if (op === 'remove') {
    if (sub !== undefined) target[attribute] = before.map((one) => withoutKey(one, sub));
    // Entra ID names what to remove in the value; the RFC removes all.
    else if (value === undefined || value === null) delete target[attribute];
    else target[attribute] = before.filter((one) => !given.some((gone) => gone['value'] === one['value']));
  } else if (sub !== undefined) {
    target[attribute] = before.length === 0 ? [{ [sub]: value }] : before.map((one) => ({ ...one, [sub]: value }));
  } else if (op === 'replace') target[attribute] = given;
  else target[attribute] = given.reduce<Json[]>(added, before);
}

function changeElements(before: readonly Json[], op: ScimOperation['op'], attribute: string, element: ScimFilter, sub: string | undefined, value: unknown): Json[] {
  const matching = before.filter((one) => matches(element, one));
  if (op === 'remove') return sub === undefined ? before.filter((one) => !matching.includes(one)) : before.map((one) => (matching.includes(one) ? withoutKey(one, sub) : one));
  const change = sub === undefined ? elementOf(attribute, value) : { [sub]: value };
  if (matching.length > 0) return before.map((one) => (matching.includes(one) ? { ...one, ...change } : one));
  const made = madeBy(element);
  if (made === undefined) throw new ScimFailure('InvalidInput', 'noTarget', 'no element of the list fulfils the filter of the path');
  return added([...before], { ...made, ...change });
}

/** Appends an element unless one of the same value is there, which it then replaces. Only one element is the primary one. */
function added(list: Json[], element: Json): Json[] {
  const kept = element['value'] === undefined ? list : list.filter((one) => one['value'] !== element['value']);
  return [...(element['primary'] === true ? kept.map((one) => ({ ...one, primary: false })) : kept), element];
}

/** The element that a filter of equalities describes, e.g. `type eq "work"`. */
function madeBy(filter: ScimFilter): Json | undefined {
  if (filter.kind === 'compare' && filter.operator === 'eq') return { [filter.path]: filter.value };
  if (filter.kind !== 'and') return undefined;
  const parts = filter.filters.map(madeBy);
  return parts.includes(undefined) ? undefined : Object.assign({}, ...parts) as Json;
}

/** Whether an element of a list fulfils a filter. */
export function matches(filter: ScimFilter, element: Readonly<Json>): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.filters.every((one) => matches(one, element));
    case 'or':
      return filter.filters.some((one) => matches(one, element));
    case 'not':
      return !matches(filter.filter, element);
    case 'element':
      return false;
    case 'present': {
      const value = valueOf(element, filter.path);
      return value !== undefined && value !== null && value !== '';
    }
    case 'compare':
      return compares(valueOf(element, filter.path), filter.operator, filter.value);
  }
}

function compares(left: unknown, operator: Extract<ScimFilter, { kind: 'compare' }>['operator'], right: unknown): boolean {
  const absent = left === undefined || left === null;
  if (operator === 'eq') return absent ? right === null : folded(left) === folded(right);
  if (operator === 'ne') return !compares(left, 'eq', right);
  const [a, b] = [folded(left), folded(right)];
  if (typeof a !== 'string' || typeof b !== 'string') return false;
  switch (operator) {
    case 'co':
      return a.includes(b);
    case 'sw':
      return a.startsWith(b);
    case 'ew':
      return a.endsWith(b);
    case 'gt':
      return a > b;
    case 'ge':
      return a >= b;
    case 'lt':
      return a < b;
    case 'le':
      return a <= b;
  }
}

function folded(value: unknown): unknown {
  return typeof value === 'string' ? value.toLowerCase() : value;
}

function valueOf(element: Readonly<Json>, path: string): unknown {
  return Object.entries(element).find(([name]) => name.toLowerCase() === path)?.[1];
}

function elementOf(attribute: string, value: unknown): Json {
  if (isObject(value)) return spelled(attribute, value);
  if (typeof value === 'string') return { value };
  throw new ScimFailure('InvalidInput', 'invalidValue', 'an element of a list is an object');
}

/** Sub-attributes as the RFC spells them. */
function spelled(attribute: string, value: Json): Json {
  const known = SUBS[attribute] ?? [];
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [known.find((name) => name.toLowerCase() === key.toLowerCase()) ?? key, part]));
}

function withoutKey(element: Json, key: string): Json {
  return Object.fromEntries(Object.entries(element).filter(([name]) => name !== key));
}

function child(parent: Json, key: string): Json {
  const present = parent[key];
  if (isObject(present)) return present;
  const made: Json = {};
  parent[key] = made;
  return made;
}

function listOf(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
