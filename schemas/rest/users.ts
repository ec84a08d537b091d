import { z } from 'zod';
import { pageQuery } from './page.ts';

/** Printable characters of Unicode's first plane and surrogates; none that is a space there (ECMA-262, WhiteSpace). */
const NAME_CHARACTERS = /^[!-~\u00a1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff\u3001-\ufefe\uff00-\uffff]+$/;

export const userName = z.string().trim().min(1).max(320).regex(NAME_CHARACTERS, 'has spaces or control characters').describe('What they type to sign in; compared without case.');
const email = z.email().max(320);
const displayName = z.string().trim().min(1).max(200);
const externalId = z.string().min(1).max(200);

export const userQuery = pageQuery.extend({
  active: z.enum(['true', 'false']).transform((text) => text === 'true').optional(),
  search: z.string().trim().min(1).max(200).optional().describe('Beginning of the user name, the address or the display name.'),
  teamId: z.uuid().optional().describe('Only members of this team itself.'),
});

export const userDraft = z.strictObject({
  userName,
  email: email.optional(),
  displayName: displayName.optional(),
  externalId: externalId.optional().describe('Id of the person in the system they come from.'),
});

export const userChange = z
  .strictObject({ userName, email: email.nullable(), displayName: displayName.nullable(), externalId: externalId.nullable() })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'nothing to change');

export const userView = z
  .object({
    id: z.uuid(),
    userName: z.string(),
    email: z.string().nullable(),
    emailVerified: z.boolean(),
    displayName: z.string().nullable(),
    externalId: z.string().nullable(),
    active: z.boolean(),
    hasPassword: z.boolean().describe('Whether they have a password here, besides ways to sign in elsewhere.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    lastSignInAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'User' });

/** What an administrator says who acts as somebody else. */
export const impersonationDraft = z.strictObject({
  reason: z.string().trim().min(3).max(200).describe('Why; stands in the audit log, so name a ticket and no person.'),
});

export const impersonationBegun = z.object({ sessionId: z.uuid() }).meta({ id: 'Impersonation' });
