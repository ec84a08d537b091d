import { z } from 'zod';
import { pageQuery } from './page.ts';

const name = z.string().trim().min(1).max(200);
const features = z
  .record(z.string().regex(/^[a-z][a-z0-9-]{0,79}$/), z.boolean())
  .refine((toggles) => Object.keys(toggles).length <= 200, 'at most 200 features')
  .describe('Toggles by feature. What a team does not say it has from the team above.');

export const teamQuery = pageQuery.extend({
  parentId: z.uuid().optional().describe('Only teams directly below this one.'),
  userId: z.uuid().optional().describe('Only teams this user is a member of.'),
});

export const teamDraft = z.strictObject({
  name,
  parentId: z.uuid().nullable().default(null).describe('The team above: members have what it has, too.'),
  features: features.default({}),
});

export const teamChange = z
  .strictObject({ name, parentId: z.uuid().nullable(), features })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'nothing to change');

export const teamView = z
  .object({ id: z.uuid(), name: z.string(), parentId: z.uuid().nullable(), externalId: z.string().nullable(), features: z.record(z.string(), z.boolean()), createdAt: z.iso.datetime(), updatedAt: z.iso.datetime() })
  .meta({ id: 'Team' });

const people = z.array(z.uuid()).max(500);

export const memberChange = z.strictObject({ add: people.default([]), remove: people.default([]) }).refine(({ add, remove }) => add.length + remove.length > 0, 'nothing to change');

export const memberList = z.object({ members: z.array(z.uuid()).describe('User ids, of the team itself.') }).meta({ id: 'TeamMembers' });

/** A resource of a permission, e.g. `connections`. */
export const shareKind = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/).describe('Resource of a permission, e.g. `connections`.');
export const shareId = z.string().regex(/^[A-Za-z0-9._~-]{1,200}$/).describe('Its id as it stands in paths.');
export const shareAccess = z.enum(['read', 'write']).describe('`write` includes `read`.');

export const shareDraft = z.strictObject({ access: shareAccess });

export const shareList = z.object({ shares: z.array(z.object({ kind: z.string(), id: z.string(), access: shareAccess })) }).meta({ id: 'TeamShares' });

export const featureList = z.object({ features: z.record(z.string(), z.boolean()).describe('What holds for the caller; a feature nobody toggles is not here.') }).meta({ id: 'Features' });
