import { z } from 'zod';
import type { PrivacyChangeRecord } from '../../database/privacy-changes.ts';
import { privacyChangeRunId, type PrivacyChanges } from '../../platform/privacy/changes.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { privacyChangeDraft, privacyChangeSummary, privacyChangeView } from '../../schemas/rest/privacy-changes.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Privacy';
const params = z.object({ id: z.uuid() });
const BY_REQUEST = { position: BY_TIME.position, of: ({ requestedAt, id }: { readonly requestedAt: string; readonly id: string }) => ({ at: requestedAt, id }) };

/** Values of people to be corrected, and processing to be restricted, in all systems. */
export function createPrivacyChangeRoutes({ changes }: { readonly changes: PrivacyChanges }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/privacy/changes',
      id: 'listPrivacyChanges',
      tag,
      summary: "Lists changes of people's data",
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'Latest first; those of consents too.', schema: pageOf(privacyChangeSummary) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_REQUEST, async (limit, before) => (await changes.list(caller, limit, before)).map(summary)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/changes',
      id: 'requestPrivacyChange',
      tag,
      summary: "Corrects a person's data everywhere, or restricts what may be done with them",
      description: 'Writes the request down without naming anybody or any value, and starts a run that finds the person in every source, writes, and reads again. While processing is restricted the person is neither erased nor swept by retention.',
      permission: 'privacy:change',
      audit: 'privacy-change.request',
      body: privacyChangeDraft,
      responses: { 202: { description: 'The change; its run goes on.', schema: privacyChangeSummary } },
      handler: async ({ caller, body }) => ({ status: 202, body: summary(await changes.request(caller, body)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/changes/:id',
      id: 'getPrivacyChange',
      tag,
      summary: 'Reads how a change stands',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'The change, with what it found and changed.', schema: privacyChangeView } },
      handler: async ({ caller, params: { id } }) => {
        const { change, tables } = await changes.get(caller, id);
        return { status: 200, body: { ...summary(change), tables } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/changes/:id/resume',
      id: 'resumePrivacyChange',
      tag,
      summary: 'Has a change try again at once',
      description: 'Starts its run where there is none.',
      permission: 'privacy:change',
      audit: 'privacy-change.resume',
      params,
      responses: { 202: { description: 'The change.', schema: privacyChangeSummary } },
      handler: async ({ caller, params: { id } }) => ({ status: 202, body: summary(await changes.resume(caller, id)) }),
    }),
  ];
}

function summary({ id, kind, topics, wanted, state, verification, requestedAt, requestedBy, dueAt, reasons, finishedAt }: PrivacyChangeRecord) {
  return { id, runId: privacyChangeRunId(id), kind, topics: [...topics], wanted, state, verification, requestedAt: requestedAt.toISOString(), requestedBy, dueAt: dueAt.toISOString(), reasons: [...reasons], finishedAt: finishedAt?.toISOString() ?? null };
}
