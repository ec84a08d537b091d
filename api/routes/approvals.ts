import { z } from 'zod';
import type { Approvals } from '../../platform/approvals/approvals.ts';
import { approvalBody, approvalQuery, approvalView, linkParams, linkQuery } from '../../schemas/rest/approvals.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { answeredPage, confirmPage } from '../approval-page.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Approvals';
const params = z.object({ id: z.uuid() });
const html = { schema: z.string(), contentType: 'text/html; charset=utf-8' };

/** Questions to people, and the links that answer them. */
export function createApprovalRoutes({ approvals }: { approvals: Approvals }): AnyRoute[] {
  const answerRoute = (verb: 'approve' | 'refuse'): AnyRoute =>
    defineRoute({
      method: 'post',
      path: `/v1/approvals/:id/${verb}`,
      id: `${verb}Approval`,
      tag,
      summary: verb === 'approve' ? 'Approves' : 'Refuses',
      description: 'Needs the permission the approval names, too. An approver answers once; the run that waits has the last word.',
      permission: 'approvals:write',
      audit: 'approval.answer',
      params,
      body: approvalBody.optional(),
      responses: { 200: { description: 'The approval with the answer. It closes when the run has taken note, within moments.', schema: approvalView } },
      handler: async ({ caller, params: { id }, body }) => ({ status: 200, body: await approvals.answer(caller, id, { approved: verb === 'approve', comment: body?.comment }) }),
    });
  return [
    defineRoute({
      method: 'get',
      path: '/v1/approvals',
      id: 'listApprovals',
      tag,
      summary: 'Lists approvals, newest first',
      permission: 'approvals:read',
      query: approvalQuery,
      responses: { 200: { description: 'A page of approvals with their answers.', schema: pageOf(approvalView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_TIME, (limit, after) => approvals.list(caller, { state: query.state }, limit, after)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/approvals/:id',
      id: 'getApproval',
      tag,
      summary: 'Reads an approval',
      permission: 'approvals:read',
      params,
      responses: { 200: { description: 'The approval with its answers.', schema: approvalView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: await approvals.view(caller, id) }),
    }),
    answerRoute('approve'),
    answerRoute('refuse'),
    defineRoute({
      method: 'get',
      path: '/approve/:token',
      id: 'showApprovalLink',
      tag,
      summary: 'Shows the question of an approval link',
      description: 'A page that asks to confirm. Opening it changes nothing: mail scanners follow links.',
      permission: 'public',
      params: linkParams,
      responses: { 200: { description: 'The question, with two buttons.', ...html }, 410: { description: 'The link was used, has expired, or is none.', ...html } },
      handler: async ({ params: { token } }) => confirmPage(await approvals.viewLink(token)),
    }),
    defineRoute({
      method: 'post',
      path: '/approve/:token',
      id: 'answerApprovalLink',
      tag,
      summary: 'Answers by an approval link, once',
      description: 'The token is the credential; no cookie is involved, so no other site can answer in somebody\'s name.',
      permission: 'public',
      audit: { none: 'the waiting run writes the answer that the link carries' },
      params: linkParams,
      query: linkQuery,
      responses: { 200: { description: 'The answer is recorded.', ...html }, 410: { description: 'The link was used, has expired, or is none.', ...html } },
      handler: async ({ params: { token }, query }) => answeredPage(await approvals.answerLink(token, query.answer === 'approve'), query.answer === 'approve'),
    }),
  ];
}
