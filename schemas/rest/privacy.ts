import { z } from 'zod';
import { erasedTable, ERASURE_STATES, keptValue } from '../privacy/erasure.ts';
import { SOURCE_KINDS } from '../privacy/source-kinds.ts';
import { identities } from './identities.ts';

const sourceName = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/);
const address = z
  .string()
  .max(2000)
  .regex(/^(?:(?:postgres(?:ql)?|rediss?|s3|https?):\/\/\S+|manual:.+)$/, 'postgres://, redis://, s3://, https:// or manual:')
  .describe('Of its kind: `postgres://user:password@host:port/database` with `?sslmode=disable`, `require` or `verify-full` (default), `rediss://user:password@host:port/0`, `s3://key:secret@host/bucket?region=eu-central-1`, `https://bearer:token@host/path`, `manual:where it is`. Never shown again.');
const annotations = z.string().min(1).max(1_000_000).describe("YAML. PostgreSQL: HAL9's own format or a dataset of Fides, see the how-to on data maps; others: see the how-to on sources of data.");

export const privacySourceDraft = z.strictObject({ name: sourceName, kind: z.enum(SOURCE_KINDS).default('postgres'), address, annotations });
export const privacySourceChange = z.strictObject({ address: address.optional(), annotations: annotations.optional(), version: z.int().min(1).optional().describe('The version it must have now.') });
export const privacySourceView = z
  .object({ id: z.uuid(), name: sourceName, kind: z.enum(SOURCE_KINDS), host: z.string().nullable().describe('Null when no master key opens the address.'), database: z.string().nullable(), annotations: z.string(), version: z.int(), createdAt: z.iso.datetime(), updatedAt: z.iso.datetime(), updatedBy: z.string() })
  .meta({ id: 'PrivacySource' });

export const privacyPolicy = z
  .strictObject({
    approvals: z.int().min(0).max(10).describe('People who must agree before anything is destroyed.'),
    deadlineDays: z.int().min(1).max(365).describe('Art. 12(3) GDPR: a month.'),
    remindDays: z.array(z.int().min(1).max(364)).max(10).describe('Days before the deadline on which people are reminded.'),
    connection: z.string().min(1).max(128).nullable().describe('Connection that carries questions and reminders.'),
  })
  .meta({ id: 'PrivacyPolicy' });

export const legalHoldDraft = z
  .strictObject({
    identities: identities.optional().describe('Whom it protects; only keyed hashes are kept. Without: everybody.'),
    source: sourceName.optional(),
    table: z.string().min(1).max(200).optional().describe('Table of the source, as the annotations name it. Without: everything of the person.'),
    reason: z.string().min(1).max(500).describe('Shown in receipts: name a case, not a person.'),
    until: z.iso.datetime({ offset: true }).optional(),
  })
  .refine(({ source, table }) => (source === undefined) === (table === undefined), { message: 'source and table go together', path: ['table'] })
  .refine((draft) => draft.identities !== undefined || draft.table !== undefined, { message: 'a hold protects somebody, or a table', path: ['identities'] });
export const legalHoldView = z
  .object({ id: z.uuid(), everybody: z.boolean(), source: z.string().nullable(), table: z.string().nullable(), reason: z.string(), until: z.iso.datetime().nullable(), createdAt: z.iso.datetime(), createdBy: z.string(), releasedAt: z.iso.datetime().nullable() })
  .meta({ id: 'LegalHold' });

export const erasureDraft = z.strictObject({
  identities,
  verification: z.string().trim().min(1).max(500).describe('How you made sure that the request is the person\'s own, e.g. `signed in, one-time code`. Without personal data.'),
});
export const erasureView = z
  .object({
    id: z.uuid(),
    runId: z.string(),
    state: z.enum(ERASURE_STATES),
    verification: z.string(),
    requestedAt: z.iso.datetime(),
    requestedBy: z.string(),
    dueAt: z.iso.datetime(),
    reasons: z.array(z.string()).describe('What stands in the way, and where somebody must act.'),
    tables: z.array(erasedTable).describe('What the rehearsal found, then what was done.'),
    kept: z.array(keptValue),
    finishedAt: z.iso.datetime().nullable(),
    hasReceipt: z.boolean(),
  })
  .meta({ id: 'Erasure' });
export const erasureSummary = erasureView.omit({ tables: true, kept: true }).meta({ id: 'ErasureSummary' });
export const erasureReceipt = z.object({ receipt: z.string().describe('JWS in compact form; `hal9 privacy verify-receipt` checks it offline with the log key of GET /v1/audit/keys.') });
