import ipaddr from 'ipaddr.js';
import type { Database } from '../../database/database.ts';
import { GrantStore, type GrantRecord } from '../../database/grants.ts';
import { roleConditions, type RoleConditions } from '../../schemas/rest/roles.ts';
import { findRole, scopesOf, type Role } from './roles.ts';

/** Scopes that count under conditions. */
export interface Grant {
  /** Id of the binding, or `share` for what a team was given. */
  readonly source: string;
  /** Name of the role; undefined for a share. */
  readonly role: string | undefined;
  /** Already narrowed to the condition's resource attributes. */
  readonly scopes: readonly string[];
  /** What is judged for each request: time, network, risk. */
  readonly conditions: Omit<RoleConditions, 'resource'>;
}

/**
 * All that a person may in one organisation, before the request is looked at. May be cached until {@link IDENTITY_CHANNEL}
 * announces one of `line`.
 */
export interface GrantSet {
  /** The person's own organisation. */
  readonly homeOrgId: string;
  readonly userId: string;
  /** The organisation acted in: their own or one below it. */
  readonly orgId: string;
  /** `orgId` and every organisation above it: what this rests on. */
  readonly line: readonly string[];
  readonly grants: readonly Grant[];
}

/** What of a request decides conditions. */
export interface Circumstances {
  readonly at: Date;
  /** Network address the request came from; undefined for background work, which no network condition lets in. */
  readonly address: string | undefined;
  /** 0 (nothing unusual) to 100. */
  readonly risk: number;
}

/** Rights of people. */
export class Grants {
  readonly #store: GrantStore;

  constructor(database: Database) {
    this.#store = new GrantStore(database);
  }

  /**
   * What the person may in their own organisation, or in `targetOrgId` below it; one round trip.
   * @returns undefined when there is no such person, they are inactive, the organisation or one above it is suspended, or the target
   *   is not below their own. An empty set is somebody without roles.
   */
  async of(homeOrgId: string, userId: string, targetOrgId: string = homeOrgId): Promise<GrantSet | undefined> {
    const record = await this.#store.readAcrossOrganisations(homeOrgId, userId, targetOrgId);
    if (!record.active || record.suspended || !record.line.includes(homeOrgId)) return undefined;
    return { homeOrgId, userId, orgId: targetOrgId, line: record.line, grants: grantsOf(record, homeOrgId !== targetOrgId) };
  }

  /** What the person could do under some circumstances in their own organisation, were they active. */
  async atMost(orgId: string, userId: string): Promise<string[]> {
    return distinct(grantsOf(await this.#store.readAcrossOrganisations(orgId, userId, orgId), false));
  }

  /** What membership in the team gives under some circumstances. */
  async ofTeam(orgId: string, teamId: string): Promise<string[]> {
    return distinct(grantsOf(await this.#store.readTeam(orgId, teamId), false));
  }
}

/** @param below whether the person acts in an organisation below their own. */
function grantsOf(record: Pick<GrantRecord, 'bindings' | 'roles' | 'shares'>, below: boolean): Grant[] {
  const own = new Map<string, Role>(record.roles.map((role) => [role.name, role]));
  const grants: Grant[] = [];
  for (const binding of record.bindings) {
    if (below && findRole(binding.role, own)?.reachesDescendants !== true) continue;
    // A condition this build does not know could be one that refuses: the binding does not count.
    const parsed = roleConditions.safeParse(binding.conditions);
    if (!parsed.success) continue;
    const { resource = {}, ...conditions } = parsed.data;
    grants.push({ source: binding.id, role: binding.role, scopes: narrow(scopesOf(binding.role, own), resource), conditions });
  }
  const shared = record.shares.flatMap(shareScopes);
  if (shared.length > 0) grants.push({ source: 'share', role: undefined, scopes: shared, conditions: {} });
  return grants;
}

/** What a share allows: `write` includes `read`. */
export function shareScopes({ kind, id, access }: GrantRecord['shares'][number]): string[] {
  const read = `${kind}:read:id=${id}`;
  return access === 'write' ? [read, `${kind}:write:id=${id}`] : [read];
}

/** The scopes that count for one request: what `Caller.scopes` of a person is. */
export function effectiveScopes(set: Pick<GrantSet, 'grants'>, circumstances: Circumstances): string[] {
  return distinct(set.grants.filter(({ conditions }) => holds(conditions, circumstances)));
}

/**
 * The scopes that count whenever and from wherever: what a person may hand on to keys and others, which would otherwise work where
 * they themselves may not.
 */
export function lastingScopes(set: Pick<GrantSet, 'grants'>): string[] {
  return distinct(set.grants.filter(({ conditions }) => Object.keys(conditions).length === 0));
}

/** The scopes that count under some circumstances: what a person can do at most. */
export function possibleScopes(set: Pick<GrantSet, 'grants'>): string[] {
  return distinct(set.grants);
}

function distinct(grants: readonly Grant[]): string[] {
  return [...new Set(grants.flatMap(({ scopes }) => scopes))];
}

/**
 * Scopes made smaller by attributes: one for each combination of values. A scope that names another value for an attribute
 * already leaves nothing.
 */
export function narrow(scopes: readonly string[], resource: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(resource).reduce<string[]>((narrowed, [key, values]) => narrowed.flatMap((scope) => values.flatMap((value) => withNarrowing(scope, key, value))), [...scopes]);
}

function withNarrowing(scope: string, key: string, value: string): string[] {
  const [resource = '*', verb = '*', ...narrowings] = scope === '*' ? [] : scope.split(':');
  const present = narrowings.find((narrowing) => narrowing.startsWith(`${key}=`));
  if (present !== undefined) return present === `${key}=${value}` ? [scope] : [];
  return [[resource, verb, ...narrowings, `${key}=${value}`].join(':')];
}

function holds({ validFrom, validUntil, times, networks, maxRisk }: Grant['conditions'], { at, address, risk }: Circumstances): boolean {
  if (validFrom !== undefined && at < new Date(validFrom)) return false;
  if (validUntil !== undefined && at >= new Date(validUntil)) return false;
  if (maxRisk !== undefined && !(risk <= maxRisk)) return false;
  if (times !== undefined && !times.some((window) => within(window, at))) return false;
  return networks === undefined || (address !== undefined && networks.some((network) => isIn(address, network)));
}

type TimeWindow = NonNullable<RoleConditions['times']>[number];

function within({ zone, weekdays, from, to }: TimeWindow, at: Date): boolean {
  const { weekday, minute } = localTime(zone, at);
  const [start, end] = [minutesOf(from), minutesOf(to)];
  if (start < end) return weekdays.includes(weekday) && minute >= start && minute < end;
  const dayBefore = weekday === 1 ? 7 : weekday - 1;
  return (weekdays.includes(weekday) && minute >= start) || (weekdays.includes(dayBefore) && minute < end);
}

function minutesOf(timeOfDay: string): number {
  return Number(timeOfDay.slice(0, 2)) * 60 + Number(timeOfDay.slice(3));
}

const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
/** Making one costs more than using it a thousand times; there are some 600 zones. */
const clocks = new Map<string, Intl.DateTimeFormat>();

/** Weekday by ISO 8601 and minute of the day, as the clocks of the zone show them. */
function localTime(zone: string, at: Date): { weekday: number; minute: number } {
  let clock = clocks.get(zone);
  if (clock === undefined) {
    clock = new Intl.DateTimeFormat('en-US', { timeZone: zone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    clocks.set(zone, clock);
  }
  const parts = new Map(clock.formatToParts(at).map(({ type, value }) => [type, value]));
  return { weekday: WEEKDAYS.indexOf(parts.get('weekday') ?? '') + 1, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) };
}

function isIn(address: string, network: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // `process` shows an IPv4 address that came over an IPv6 socket as what it is.
  const from = ipaddr.process(address);
  const [range, bits] = ipaddr.parseCIDR(network);
  return from.kind() === range.kind() && from.match(range, bits);
}
