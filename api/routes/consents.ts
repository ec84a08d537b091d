import type { ConsentRecord } from '../../database/consents.ts';
import type { Consents } from '../../platform/consent/consents.ts';
import { consentAnswer, consentDraft, consentHistory, consentPurposes, consentQuestion, consentRecorded, consentSubject } from '../../schemas/rest/consents.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Consents';
const READS = { none: 'reads; a POST so that the subject is in no address and no log' } as const;

/** Consents of the people an organisation has data of. */
export function createConsentRoutes({ consents }: { consents: Consents }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/consents',
      id: 'recordConsent',
      tag,
      summary: 'Records that a person gave or withdrew a consent',
      description: 'Records are only added; the last one of a subject and a purpose counts, from this answer on. The subject is kept as a keyed hash, the proof as its SHA-256. With `identities` the decision is carried into the declared sources as well.',
      permission: 'consents:write',
      audit: 'consent.give',
      body: consentDraft,
      responses: { 201: { description: 'The record.', schema: consentRecorded } },
      handler: async ({ caller, body }) => {
        const recorded = await consents.record(caller, { ...body, at: body.at === undefined ? undefined : new Date(body.at) });
        return { status: 201, body: { ...view(recorded), changeId: recorded.changeId } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/consents/check',
      id: 'checkConsent',
      tag,
      summary: 'Whether a person consents to a purpose now',
      permission: 'consents:read',
      audit: READS,
      body: consentQuestion,
      responses: { 200: { description: 'The answer with the record it rests on.', schema: consentAnswer } },
      handler: async ({ caller, body }) => {
        const record = await consents.consentFor(caller.orgId, body.subject, body.purpose);
        return { status: 200, body: { granted: record?.state === 'given', record: record === undefined ? null : view(record) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/consents/query',
      id: 'queryConsents',
      tag,
      summary: 'Everything recorded about a person',
      permission: 'consents:read',
      audit: READS,
      body: consentSubject,
      responses: { 200: { description: 'How each purpose stands, and how it came to.', schema: consentHistory } },
      handler: async ({ caller, body }) => {
        const history = await consents.history(caller, body.subject);
        const current = history.filter((record, index) => history.findIndex((other) => other.purpose === record.purpose) === index);
        return { status: 200, body: { current: current.map(view), history: history.map(view) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/consents/purposes',
      id: 'listConsentPurposes',
      tag,
      summary: 'How many people consent to what',
      permission: 'consents:read',
      responses: { 200: { description: 'By purpose.', schema: consentPurposes } },
      handler: async ({ caller }) => ({ status: 200, body: { items: await consents.purposes(caller) } }),
    }),
  ];
}

function view({ id, purpose, state, legalBasis, textVersion, source, proofHash, at, recordedAt, recordedBy }: ConsentRecord) {
  return { id, purpose, state, legalBasis, textVersion, source, proofSha256: proofHash?.toString('hex') ?? null, at: at.toISOString(), recordedAt: recordedAt.toISOString(), recordedBy };
}
