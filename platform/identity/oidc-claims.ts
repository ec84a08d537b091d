import type { OidcSettings } from '../../schemas/rest/identity-providers.ts';

/** Claims of a verified token, or of UserInfo. */
export type Claims = Readonly<Record<string, unknown>>;

export interface Person {
  readonly userName: string;
  /** False when the name is an address that anybody could have written into their profile. */
  readonly userNameProven: boolean;
  readonly email: string | undefined;
  readonly emailVerified: boolean;
  readonly displayName: string | undefined;
  readonly groups: readonly string[];
  /** RFC 8176: the provider says several factors were shown. */
  readonly secondFactor: boolean;
}

/**
 * Reads a person from claims. What decides about security (`amr`) is read from the ID token only, which is signed; an address and
 * whether it is verified come from the same place.
 * @param userInfo of the same subject; undefined when it was not asked.
 */
export function personOf(settings: Pick<OidcSettings, 'claims'>, idToken: Claims, userInfo: Claims | undefined): Person {
  const { claims } = settings;
  const sources = userInfo === undefined ? [idToken] : [idToken, userInfo];
  const first = (name: string): string | undefined => sources.map((source) => textOf(claimAt(source, name))).find((text) => text !== undefined);
  const addressed = sources.find((source) => textOf(claimAt(source, claims.email)) !== undefined);
  const email = addressed === undefined ? undefined : textOf(claimAt(addressed, claims.email));
  const { sub, amr } = idToken;
  const named = first(claims.userName);
  // Some providers write booleans as text.
  const said = String(addressed?.['email_verified']);
  const emailVerified = said === 'true';
  const isAddress = named === undefined ? email !== undefined : claims.userName === claims.email || (named.toLowerCase() === email?.toLowerCase() && said === 'false');
  return {
    userName: named ?? email ?? String(sub),
    userNameProven: !isAddress || emailVerified,
    email,
    emailVerified,
    displayName: first(claims.displayName),
    groups: [...new Set(sources.flatMap((source) => textsOf(claimAt(source, claims.groups))))],
    secondFactor: textsOf(amr).includes('mfa'),
  };
}

/**
 * The first required claim that does not hold. Read from the ID token alone.
 * @returns its name.
 */
export function unmetClaim(settings: Pick<OidcSettings, 'requiredClaims'>, idToken: Claims): string | undefined {
  return Object.entries(settings.requiredClaims).find(([name, accepted]) => {
    const values = textsOf(claimAt(idToken, name));
    return !values.some((value) => accepted.includes(value));
  })?.[0];
}

/**
 * Whether the provider left the groups out because they are too many: Microsoft Entra ID names the claim in `_claim_names` (OpenID
 * Connect Core 5.6.2, distributed claims) or sets `hasgroups` when somebody is in more than 200 groups.
 */
export function groupsWithheld(settings: Pick<OidcSettings, 'claims'>, idToken: Claims): boolean {
  const name = settings.claims.groups;
  if (Object.hasOwn(idToken, name)) return false;
  const elsewhere = idToken['_claim_names'];
  return (typeof elsewhere === 'object' && elsewhere !== null && Object.hasOwn(elsewhere, name)) || (name === 'groups' && (idToken['hasgroups'] === true || idToken['hasgroups'] === 'true'));
}

/** By name, or, for claims inside others, by JSON pointer (RFC 6901), e.g. `/realm_access/roles`. */
function claimAt(claims: Claims, name: string): unknown {
  if (!name.startsWith('/')) return Object.hasOwn(claims, name) ? claims[name] : undefined;
  let current: unknown = claims;
  for (const segment of name.slice(1).split('/')) {
    const key = segment.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = Object.entries(current).find(([candidate]) => candidate === key)?.[1];
  }
  return current;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string' && item !== '') : [];
}
