import type { z } from 'zod';
import type { RecordedAction, RemediationActionStore } from '../../database/remediation-actions.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { formatRunId, formatWorkflowId, parseRunId, parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import { remediationActionFilter, remediationActionView } from '../../schemas/rest/remediation-actions.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

/** What host agents did in the name of the caller's organisation. */
export function createRemediationActionRoutes({ actions }: { actions: Pick<RemediationActionStore, 'list'> }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/remediation-actions',
      id: 'listRemediationActions',
      tag: 'Decisions',
      summary: 'Lists what host agents did, newest first',
      description: 'Every action of a remedy: what was asked of which machine, for which incident, and what came of it. Refused ones are among them.',
      permission: 'decisions:read',
      query: remediationActionFilter,
      responses: { 200: { description: 'A page of actions.', schema: pageOf(remediationActionView) } },
      async handler({ caller, query }) {
        const { limit, cursor, runId, ...filter } = query;
        const run = runId === undefined ? undefined : parseRunId(runId);
        // A text that is no run id names no run, and so no action.
        if (runId !== undefined && run === undefined) return { status: 200, body: { items: [], nextCursor: null } };
        const wanted = { ...filter, ...(run === undefined ? {} : { workflowId: formatWorkflowId({ orgId: caller.orgId, ...run }) }) };
        const { items, nextCursor } = await pageOfList({ limit, cursor }, BY_TIME, (most, after) => actions.list(caller.orgId, { ...wanted, limit: most, after }));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
  ];
}

function view({ workflowId, createdAt, finishedAt, ...action }: RecordedAction): z.input<typeof remediationActionView> {
  const run = parseWorkflowId(workflowId);
  return { ...action, runId: run === undefined ? '' : formatRunId(run), createdAt: createdAt.toISOString(), finishedAt: finishedAt?.toISOString() ?? null };
}
