import { z } from 'zod';
import { pageQuery } from './page.ts';

const scope = z.string().max(200).describe('`<resource>:<verb>`, either may be `*`, narrowed by `:key=value`; `*` alone is everything.');
/** Name of a role, predefined or an organisation's own. */
export const roleName = z.string().regex(/^[a-z][a-z0-9-]{1,39}$/).describe('Lower-case letters, digits and hyphens.');

const timeZone = z.string().max(64).refine(isTimeZone, 'not a time zone of the IANA database').describe('IANA name, e.g. `Europe/Berlin`.');
const instant = z.iso.datetime({ offset: true });

const timeWindow = z.strictObject({
  zone: timeZone,
  weekdays: z.array(z.int().min(1).max(7)).min(1).max(7).default([1, 2, 3, 4, 5, 6, 7]).describe('ISO 8601: 1 is Monday. A window that crosses midnight belongs to the day it began on.'),
  from: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/).default('00:00').describe('`HH:MM` of the zone.'),
  to: z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/).default('24:00').describe('Exclusive; not later than `from` means the next day.'),
});

/** When a binding counts. Judged for each request; all that are given must hold. */
export const roleConditions = z
  .strictObject({
    validFrom: instant.optional(),
    validUntil: instant.optional().describe('Exclusive.'),
    times: z.array(timeWindow).min(1).max(20).optional().describe('The request falls into one of these windows.'),
    networks: z.array(z.union([z.cidrv4(), z.cidrv6()])).min(1).max(100).optional().describe('The request comes from one of these networks (CIDR).'),
    maxRisk: z.int().min(0).max(100).optional().describe('The request looks at most so unusual: 0 to 100.'),
    resource: z
      .record(z.string().regex(/^[a-z][a-z0-9-]{0,39}$/), z.array(z.string().regex(/^[A-Za-z0-9._~-]{1,100}$/)).min(1).max(20))
      .refine((attributes) => Object.keys(attributes).length <= 4, 'at most 4 attributes')
      .optional()
      .describe('Only resources with one of the values for each attribute, e.g. `{"type": ["rollout"]}`.'),
  })
  .meta({ id: 'RoleConditions' });

export type RoleConditions = z.output<typeof roleConditions>;

const roleBody = z.strictObject({
  description: z.string().trim().max(500).default(''),
  inherits: z.array(roleName).max(20).default([]).describe('Roles whose scopes this one has too.'),
  scopes: z.array(scope).max(200).default([]),
  reachesDescendants: z.boolean().default(false).describe('Whether who has it also has it in the organisations below. Only who has everything may say so.'),
});

export const roleDraft = roleBody.extend({ name: roleName });
export const roleReplacement = roleBody;

export const roleView = z
  .object({
    name: z.string(),
    description: z.string(),
    predefined: z.boolean().describe('One of HAL9\'s own, the same everywhere.'),
    inherits: z.array(z.string()),
    scopes: z.array(z.string()),
    allScopes: z.array(z.string()).describe('With everything inherited.'),
    reachesDescendants: z.boolean(),
  })
  .meta({ id: 'Role' });

export const roleList = z.object({ items: z.array(roleView) });

export const bindingQuery = pageQuery.extend({ userId: z.uuid().optional(), teamId: z.uuid().optional(), role: roleName.optional() });

export const bindingDraft = z
  .strictObject({ userId: z.uuid().optional(), teamId: z.uuid().optional(), role: roleName, conditions: roleConditions.default({}) })
  .refine(({ userId, teamId }) => (userId === undefined) !== (teamId === undefined), { path: ['userId'], message: 'name either a user or a team' });

export const bindingChange = z.strictObject({ conditions: roleConditions });

export const bindingView = z
  .object({
    id: z.uuid(),
    userId: z.uuid().nullable(),
    teamId: z.uuid().nullable(),
    role: z.string(),
    conditions: z.unknown().describe('See RoleConditions.'),
    providerId: z.uuid().nullable().describe('The identity provider whose groups made it.'),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'RoleBinding' });

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
