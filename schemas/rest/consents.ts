import { z } from 'zod';
import { identities } from './identities.ts';

export const CONSENT_STATES = ['given', 'withdrawn'] as const;
export type ConsentState = (typeof CONSENT_STATES)[number];

/** Art. 6(1)(a) to (f) GDPR, and explicit consent of Art. 9(2)(a). */
export const LEGAL_BASES = ['consent', 'explicit-consent', 'contract', 'legal-obligation', 'vital-interests', 'public-task', 'legitimate-interests'] as const;
export type LegalBasis = (typeof LEGAL_BASES)[number];

const subject = z.string().min(1).max(500).describe('How your systems know the person, e.g. a customer number or an e-mail address. Only its keyed hash is kept.');
const purpose = z.string().regex(/^[a-z][a-z0-9-]{0,63}$/).describe('E.g. `newsletter`.');
const word = z.string().min(1).max(200);

export const consentDraft = z.strictObject({
  subject,
  purpose,
  state: z.enum(CONSENT_STATES),
  legalBasis: z.enum(LEGAL_BASES).default('consent'),
  textVersion: word.describe('Version of the words the person saw.'),
  source: word.describe('Where it was decided, e.g. `signup-form`.'),
  at: z.iso.datetime({ offset: true }).optional().describe('When the person decided; default now. Not in the future.'),
  proof: z.string().max(65_536).optional().describe('What proves it, e.g. the form as sent. Its SHA-256 is kept; keep the proof yourself.'),
  identities: identities.optional().describe('What the person is found by in the declared sources, by kind: with it the decision is carried into every field that keeps this consent, and `changeId` says how that stands.'),
});

export const consentSubject = z.strictObject({ subject });
export const consentQuestion = z.strictObject({ subject, purpose });

export const consentView = z
  .object({
    id: z.uuid(),
    purpose,
    state: z.enum(CONSENT_STATES),
    legalBasis: z.enum(LEGAL_BASES),
    textVersion: word,
    source: word,
    proofSha256: z.string().nullable(),
    at: z.iso.datetime().describe('When the person decided.'),
    recordedAt: z.iso.datetime(),
    recordedBy: z.string().describe('Kind and id.'),
  })
  .meta({ id: 'Consent' });

export const consentRecorded = consentView.extend({ changeId: z.uuid().nullable().describe('See GET /v1/privacy/changes/{id}; null without `identities`.') }).meta({ id: 'RecordedConsent' });

export const consentAnswer = z.object({ granted: z.boolean().describe('Whether the last record of the purpose gave it. False where there is none.'), record: consentView.nullable() });
export const consentHistory = z.object({ current: z.array(consentView).describe('The last record of each purpose.'), history: z.array(consentView).describe('Newest first, at most 1,000.') });
export const consentPurposes = z.object({ items: z.array(z.object({ purpose, given: z.int(), withdrawn: z.int() })).describe('Subjects by how they stand.') });
