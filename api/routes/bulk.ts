import { z } from 'zod';
import type { Bulk } from '../../platform/operations/bulk.ts';
import { bulkBody, bulkItem, bulkItemQuery, bulkParams, bulkReport, bulkStarted } from '../../schemas/rest/bulk.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Runs';
const BY_NUMBER = { position: z.object({ n: z.int() }).transform(({ n }) => n), of: ({ n }: { readonly n: number }) => ({ n }) };

/** Actions on many runs. */
export function createBulkRoutes({ bulk }: { readonly bulk: Bulk }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/runs/bulk',
      id: 'actOnRuns',
      tag,
      summary: 'Acts on many runs, by their ids or by what they have in common',
      description: 'The runs are chosen now and worked off by a run of `bulk`, so many a second. The report says what became of each.',
      permission: 'runs:write',
      audit: 'run.bulk',
      access: () => ({ filtered: true }),
      body: bulkBody,
      responses: { 202: { description: 'The runs are chosen.', schema: bulkStarted } },
      async handler({ caller, body }) {
        const started = await bulk.begin(caller, body);
        return { status: 202, body: started, headers: { Location: `/v1/runs/bulk/${started.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/bulk/:id',
      id: 'getBulkAction',
      tag,
      summary: 'Reads how far a bulk action is',
      permission: 'runs:read',
      params: bulkParams,
      responses: { 200: { description: 'The action.', schema: bulkReport } },
      async handler({ caller, params }) {
        const report = await bulk.report(caller, params.id);
        return { status: 200, body: { ...report, createdAt: report.createdAt.toISOString() } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/bulk/:id/items',
      id: 'listBulkItems',
      tag,
      summary: 'Lists what became of each run of a bulk action',
      permission: 'runs:read',
      params: bulkParams,
      query: bulkItemQuery,
      responses: { 200: { description: 'A page of runs, in the order they are acted on.', schema: pageOf(bulkItem) } },
      async handler({ caller, params, query }) {
        const page = await pageOfList(query, BY_NUMBER, (limit, after = 0) => bulk.items(caller, params.id, { after, limit, state: query.state }));
        return { status: 200, body: { ...page, items: page.items.map((item) => ({ ...item, at: item.at?.toISOString() ?? null })) } };
      },
    }),
  ];
}
