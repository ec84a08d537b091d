import { createHash } from 'node:crypto';
import type { ScimGroupRecord, ScimUserRecord } from '../../database/scim.ts';
import { scimExtras, URN, type ScimExtras } from '../../schemas/rest/scim.ts';

export type ScimResource = Readonly<Record<string, unknown>>;

/** A user as a client sees it. @param base `<public address>/scim/v2`. */
export function userResource(user: ScimUserRecord, base: string): ScimResource {
  const extras = extrasOf(user);
  const enterprise = extras[URN.enterprise];
  return versioned({
    schemas: enterprise === undefined ? [URN.user] : [URN.user, URN.enterprise],
    id: user.id,
    ...present('externalId', user.externalId),
    userName: user.userName,
    ...present('displayName', user.displayName),
    ...defined(extras),
    active: user.active,
    groups: user.teams.map((team) => ({ value: team.id, display: team.name, type: 'direct', $ref: `${base}/Groups/${team.id}` })),
    meta: { resourceType: 'User', created: user.createdAt, lastModified: user.updatedAt, location: `${base}/Users/${user.id}` },
  });
}

export function groupResource(group: ScimGroupRecord, base: string): ScimResource {
  return versioned({
    schemas: [URN.group],
    id: group.id,
    ...present('externalId', group.externalId),
    displayName: group.name,
    members: group.members.map((member) => ({ value: member.id, display: member.userName, type: 'User', $ref: `${base}/Users/${member.id}` })),
    meta: { resourceType: 'Group', created: group.createdAt, lastModified: group.updatedAt, location: `${base}/Groups/${group.id}` },
  });
}

/** What is kept of a person, with the address as HAL9 knows it now: people may have changed it themselves. */
export function extrasOf({ attributes, email }: Pick<ScimUserRecord, 'attributes' | 'email'>): ScimExtras {
  const extras = scimExtras.parse(attributes ?? {});
  const { emails } = extras;
  if (email === null) return { ...extras, emails: undefined };
  if (emails === undefined || emails.length === 0) return { ...extras, emails: [{ value: email, type: 'work', primary: true, display: undefined }] };
  const main = primaryIndex(emails);
  return { ...extras, emails: emails.map((one, index) => (index === main ? { ...one, value: email } : one)) };
}

/** Which address counts: the one that says so, else the one for work, else the first. */
export function primaryIndex(emails: NonNullable<ScimExtras['emails']>): number {
  const primary = emails.findIndex((one) => one.primary === true);
  if (primary !== -1) return primary;
  const work = emails.findIndex((one) => one.type?.toLowerCase() === 'work');
  return work === -1 ? 0 : work;
}

/** The version of a resource, for ETag and If-Match: equal exactly when the resource is. */
export function versionOf(resource: ScimResource): string {
  const { meta } = resource;
  return typeof meta === 'object' && meta !== null && 'version' in meta && typeof meta.version === 'string' ? meta.version : '';
}

/**
 * Leaves out what was not asked for (RFC 7644 3.9). `id`, `schemas` and, without `attributes`, everything else stay.
 * @param attributes @param excluded names separated by commas, sub-attributes by dots, compared without case.
 */
export function project(resource: ScimResource, attributes: string | undefined, excluded: string | undefined): ScimResource {
  const always = (key: string): boolean => key === 'id' || key === 'schemas';
  if (attributes !== undefined) {
    const wanted = namesOf(attributes);
    return Object.fromEntries(
      Object.entries(resource).flatMap(([key, value]): [string, unknown][] => {
        const own = key.toLowerCase();
        if (always(key) || wanted.has(own)) return [[key, value]];
        const subs = new Set([...wanted].filter((name) => name.startsWith(`${own}.`) || name.startsWith(`${own}:`)).map((name) => name.slice(own.length + 1)));
        return subs.size === 0 ? [] : [[key, picked(value, (name) => subs.has(name))]];
      }),
    );
  }
  if (excluded === undefined) return resource;
  const unwanted = namesOf(excluded);
  return Object.fromEntries(
    Object.entries(resource).flatMap(([key, value]): [string, unknown][] => {
      const own = key.toLowerCase();
      if (!always(key) && unwanted.has(own)) return [];
      const subs = new Set([...unwanted].filter((name) => name.startsWith(`${own}.`)).map((name) => name.slice(own.length + 1)));
      return [[key, subs.size === 0 ? value : picked(value, (name) => !subs.has(name))]];
    }),
  );
}

/** Whether an attribute is among those that are sent. */
export function isWanted(name: string, attributes: string | undefined, excluded: string | undefined): boolean {
  if (attributes !== undefined) return [...namesOf(attributes)].some((wanted) => wanted === name || wanted.startsWith(`${name}.`));
  return excluded === undefined || !namesOf(excluded).has(name);
}

function picked(value: unknown, wanted: (name: string) => boolean): unknown {
  if (Array.isArray(value)) return value.map((one) => picked(one, wanted));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => wanted(name.toLowerCase())));
}

function namesOf(list: string): Set<string> {
  const prefixes = [URN.user, URN.group].map((urn) => `${urn.toLowerCase()}:`);
  return new Set(
    list.split(',').map((name) => {
      const lower = name.trim().toLowerCase();
      const prefix = prefixes.find((one) => lower.startsWith(one));
      return prefix === undefined ? lower : lower.slice(prefix.length);
    }),
  );
}

function versioned(resource: Record<string, unknown> & { meta: Record<string, unknown> }): ScimResource {
  const { meta, ...content } = resource;
  const version = `W/"${createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 22)}"`;
  return { ...content, meta: { ...meta, version } };
}

function present(name: string, value: string | null): Record<string, string> {
  return value === null ? {} : { [name]: value };
}

function defined(extras: ScimExtras): Record<string, unknown> {
  // What is undefined in the objects below is left out when the answer is written.
  return Object.fromEntries(Object.entries(extras).filter(([, value]) => value !== undefined));
}
