import { z } from 'zod';
import type { ErasedTable, ErasureRecord } from '../../database/erasures.ts';
import type { LegalHold } from '../../database/legal-holds.ts';
import { erasureRunId, type Erasures } from '../../platform/privacy/erasures.ts';
import type { LegalHolds } from '../../platform/privacy/legal-holds.ts';
import type { PrivacySource, PrivacySources } from '../../platform/privacy/sources.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { erasureDraft, erasureReceipt, erasureSummary, erasureView, legalHoldDraft, legalHoldView, privacyPolicy, privacySourceChange, privacySourceDraft, privacySourceView } from '../../schemas/rest/privacy.ts';
import { BY_NAME, BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Privacy';
const params = z.object({ id: z.uuid() });
const BY_REQUEST = { position: BY_TIME.position, of: ({ requestedAt, id }: { readonly requestedAt: string; readonly id: string }) => ({ at: requestedAt, id }) };
const BY_PLACING = { position: BY_TIME.position, of: ({ createdAt, id }: { readonly createdAt: string; readonly id: string }) => ({ at: createdAt, id }) };

export interface PrivacyRouteParts {
  readonly sources: PrivacySources;
  readonly holds: LegalHolds;
  readonly erasures: Erasures;
}

/** Systems that hold data of people, what must be kept, and people to be forgotten. */
export function createPrivacyRoutes({ sources, holds, erasures }: PrivacyRouteParts): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/privacy/sources',
      id: 'listPrivacySources',
      tag,
      summary: 'Lists the systems that hold data of people',
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'By name, without credentials.', schema: pageOf(privacySourceView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_NAME, async (limit, after) => (await sources.list(caller, limit, after)).map(sourceView)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/sources',
      id: 'createPrivacySource',
      tag,
      summary: 'Declares a system that holds data of people',
      description: 'The annotations are checked against the live schema before each erasure, not here.',
      permission: 'privacy:write',
      audit: 'privacy-source.create',
      body: privacySourceDraft,
      responses: { 201: { description: 'The source, without its credentials.', schema: privacySourceView } },
      handler: async ({ caller, body }) => ({ status: 201, body: sourceView(await sources.create(caller, body)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/sources/:id',
      id: 'getPrivacySource',
      tag,
      summary: 'Reads a source',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'The source, without its credentials.', schema: privacySourceView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: sourceView(await sources.get(caller, id)) }),
    }),
    defineRoute({
      method: 'patch',
      path: '/v1/privacy/sources/:id',
      id: 'changePrivacySource',
      tag,
      summary: 'Changes address or annotations of a source',
      permission: 'privacy:write',
      audit: 'privacy-source.change',
      params,
      body: privacySourceChange,
      responses: { 200: { description: 'The source.', schema: privacySourceView } },
      handler: async ({ caller, params: { id }, body }) => ({ status: 200, body: sourceView(await sources.change(caller, id, body)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/privacy/sources/:id',
      id: 'deletePrivacySource',
      tag,
      summary: 'Forgets a source; its data stays where it is',
      permission: 'privacy:write',
      audit: 'privacy-source.delete',
      params,
      responses: { 204: { description: 'It is gone from HAL9.' } },
      handler: async ({ caller, params: { id } }) => {
        await sources.remove(caller, id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/policy',
      id: 'getPrivacyPolicy',
      tag,
      summary: 'Reads who must agree to erasures, and by when they must be done',
      permission: 'privacy:read',
      responses: { 200: { description: 'The policy, or the defaults.', schema: privacyPolicy } },
      handler: async ({ caller }) => {
        const policy = await erasures.policy(caller);
        return { status: 200, body: { ...policy, remindDays: [...policy.remindDays] } };
      },
    }),
    defineRoute({
      method: 'put',
      path: '/v1/privacy/policy',
      id: 'setPrivacyPolicy',
      tag,
      summary: 'Says who must agree to erasures, and by when they must be done',
      description: 'Holds for erasures asked for from now on.',
      permission: 'privacy:write',
      audit: 'privacy-policy.change',
      body: privacyPolicy,
      responses: { 200: { description: 'The policy.', schema: privacyPolicy } },
      handler: async ({ caller, body }) => {
        await erasures.setPolicy(caller, body);
        return { status: 200, body };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/holds',
      id: 'listLegalHolds',
      tag,
      summary: 'Lists legal holds',
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'Latest first, released ones too.', schema: pageOf(legalHoldView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_PLACING, async (limit, before) => (await holds.list(caller, limit, before)).map(holdView)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/holds',
      id: 'placeLegalHold',
      tag,
      summary: 'Keeps a person or a table from being erased',
      permission: 'privacy:write',
      audit: 'legal-hold.place',
      body: legalHoldDraft,
      responses: { 201: { description: 'The hold.', schema: legalHoldView } },
      handler: async ({ caller, body }) => ({ status: 201, body: holdView(await holds.place(caller, { ...body, until: body.until === undefined ? undefined : new Date(body.until) })) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/holds/:id',
      id: 'getLegalHold',
      tag,
      summary: 'Reads a legal hold',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'The hold.', schema: legalHoldView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: holdView(await holds.get(caller, id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/holds/:id/release',
      id: 'releaseLegalHold',
      tag,
      summary: 'Releases a legal hold',
      description: 'Erasures that waited for it go on within a day, or at once when they are resumed.',
      permission: 'privacy:write',
      audit: 'legal-hold.release',
      params,
      responses: { 200: { description: 'The hold.', schema: legalHoldView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: holdView(await holds.release(caller, id)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/erasures',
      id: 'listErasures',
      tag,
      summary: 'Lists erasures',
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'Latest first.', schema: pageOf(erasureSummary) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_REQUEST, async (limit, before) => (await erasures.list(caller, limit, before)).map(summary)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/erasures',
      id: 'requestErasure',
      tag,
      summary: 'Forgets a person',
      description: 'Writes the request down without naming anybody, and starts a run that rehearses it in every source, asks people where the policy says so, erases, looks again and hands out a receipt.',
      permission: 'privacy:erase',
      audit: 'erasure.request',
      body: erasureDraft,
      responses: { 202: { description: 'The erasure; its run goes on.', schema: erasureSummary } },
      handler: async ({ caller, body }) => ({ status: 202, body: summary(await erasures.request(caller, body)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/erasures/:id',
      id: 'getErasure',
      tag,
      summary: 'Reads how an erasure stands',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'The erasure.', schema: erasureView } },
      handler: async ({ caller, params: { id } }) => {
        const { erasure, tables } = await erasures.get(caller, id);
        return { status: 200, body: full(erasure, tables) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/erasures/:id/resume',
      id: 'resumeErasure',
      tag,
      summary: 'Has an erasure try again at once',
      description: 'After what stood in the way was mended. Starts the run where there is none.',
      permission: 'privacy:erase',
      audit: 'erasure.resume',
      params,
      responses: { 202: { description: 'The erasure.', schema: erasureSummary } },
      handler: async ({ caller, params: { id } }) => ({ status: 202, body: summary(await erasures.resume(caller, id)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/erasures/:id/receipt',
      id: 'getErasureReceipt',
      tag,
      summary: 'Reads the receipt of an erasure',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'Signed, with a proof that the audit log holds it.', schema: erasureReceipt } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: { receipt: await erasures.receipt(caller, id) } }),
    }),
  ];
}

function sourceView({ id, name, kind, host, database, annotations, version, createdAt, updatedAt, updatedBy }: PrivacySource) {
  return { id, name, kind, host, database, annotations, version, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString(), updatedBy };
}

function holdView({ id, subjects, source, table, reason, until, createdAt, createdBy, releasedAt }: LegalHold) {
  return { id, everybody: subjects === null, source, table, reason, until: until?.toISOString() ?? null, createdAt: createdAt.toISOString(), createdBy, releasedAt: releasedAt?.toISOString() ?? null };
}

function summary({ id, state, verification, requestedAt, requestedBy, dueAt, reasons, finishedAt, receipt }: ErasureRecord) {
  return { id, runId: erasureRunId(id), state, verification, requestedAt: requestedAt.toISOString(), requestedBy, dueAt: dueAt.toISOString(), reasons: [...reasons], finishedAt: finishedAt?.toISOString() ?? null, hasReceipt: receipt !== null };
}

function full(erasure: ErasureRecord, tables: readonly ErasedTable[]) {
  return { ...summary(erasure), tables: [...tables], kept: [...erasure.kept] };
}
