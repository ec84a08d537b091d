import { z } from 'zod';
import { pageQuery } from './page.ts';

const name = z.string().trim().min(1).max(200);
const slug = z.string().regex(/^[a-z0-9](-?[a-z0-9]){1,39}$/).describe('Short name in sign-in addresses; unique in the installation.');
const region = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/).describe('Where its data and sessions are meant to live, e.g. `eu-1`.');

export const organisationQuery = pageQuery;

export const organisationDraft = z.strictObject({
  name,
  slug: slug.optional(),
  region: region.optional().describe('Default: that of the organisation above.'),
  parentId: z.uuid().nullable().optional().describe('The organisation above. Default: the one you act in. Null makes one at the top, which only the organisation that runs the installation may.'),
});

export const organisationChange = z
  .strictObject({ name, slug: slug.nullable(), region })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'nothing to change');

export const organisationMove = z.strictObject({ parentId: z.uuid().nullable().describe('The organisation above from now on; null is the top.') });

export const organisationView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    slug: z.string().nullable(),
    parentId: z.uuid().nullable(),
    region: z.string(),
    suspendedAt: z.iso.datetime().nullable().describe('Since when nothing of it works; one above may be suspended, too.'),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Organisation' });
