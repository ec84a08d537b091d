import { z } from 'zod';
import { ACCESS_EXPORT_STATES, exportedTable } from '../privacy/access-export.ts';
import { identities } from './identities.ts';

const recipient = z
  .union([
    z.strictObject({ ageRecipient: z.string().regex(/^age1(?:pq1)?[02-9ac-hj-np-z]{20,2500}$/, 'a public key of age, age1...').describe('A public key of the person, as `age-keygen` writes it.') }),
    z.strictObject({ passphrase: z.string().min(16).max(200).describe('Told to the person by another way than the link.') }),
  ])
  .meta({ id: 'ExportRecipient' })
  .describe('What the archive is encrypted to, in the format of age (https://age-encryption.org/v1).');

export const accessExportDraft = z.strictObject({
  identities,
  verification: z.string().trim().min(1).max(500).describe("How you made sure that the request is the person's own. Without personal data."),
  recipient,
  keepDays: z.int().min(1).max(90).default(14).describe('Days it can be fetched once it is ready.'),
});
export const accessExportView = z
  .object({
    id: z.uuid(),
    runId: z.string(),
    state: z.enum(ACCESS_EXPORT_STATES),
    verification: z.string(),
    requestedAt: z.iso.datetime(),
    requestedBy: z.string(),
    reasons: z.array(z.string()).describe('Sources that do not answer; nothing is handed out before they do.'),
    contents: z.array(exportedTable),
    bytes: z.int().nullable(),
    readyAt: z.iso.datetime().nullable(),
    expiresAt: z.iso.datetime().nullable(),
    downloads: z.int(),
  })
  .meta({ id: 'AccessExport' });
export const accessExportLink = z.object({ url: z.string().describe('Whoever has it can fetch the archive, and only the person can open it.'), expiresAt: z.iso.datetime() }).meta({ id: 'AccessExportLink' });
