import { z } from 'zod';
import { pageQuery } from './page.ts';
import { roleName } from './roles.ts';

export const invitationQuery = pageQuery.extend({ open: z.enum(['true', 'false']).transform((text) => text === 'true').optional().describe('`true`: only those that can still be accepted.') });

export const invitationDraft = z
  .strictObject({
    email: z.email().max(320).optional().describe('Whom to invite; becomes the address of the new user.'),
    userId: z.uuid().optional().describe('A user without a password, who chooses one by accepting.'),
    roles: z.array(roleName).max(20).default([]).describe('What the new user may.'),
    teamIds: z.array(z.uuid()).max(50).default([]).describe('Teams the new user is a member of.'),
    expiresInDays: z.int().min(1).max(30).default(7),
    connection: z.string().min(1).max(200).optional().describe('Connection of kind smtp that carries the mail. Without one the link is in the answer, for you to pass on.'),
  })
  .refine(({ userId, roles, teamIds }) => userId === undefined || roles.length + teamIds.length === 0, { path: ['roles'], message: 'a user who exists has roles and teams already' })
  .refine(({ connection, email }) => connection === undefined || email !== undefined, { path: ['email'], message: 'a mail needs an address' });

export const invitationView = z
  .object({
    id: z.uuid(),
    email: z.string().nullable(),
    userId: z.uuid().nullable(),
    roles: z.array(z.string()),
    teamIds: z.array(z.uuid()),
    invitedBy: z.uuid().nullable().describe('The user who invited; null for a key.'),
    mailed: z.boolean().describe('Whether a mail server took it.'),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime(),
    acceptedAt: z.iso.datetime().nullable(),
    acceptedBy: z.uuid().nullable(),
    revokedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Invitation' });

export const createdInvitation = invitationView
  .extend({
    link: z.string().nullable().describe('Makes the account, once; shown only now. Null when the mail left: then it is the addressee\'s alone.'),
    mailFailure: z.string().nullable().describe('Why no mail left, if one was asked for.'),
  })
  .meta({ id: 'CreatedInvitation' });
