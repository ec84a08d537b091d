import { z } from 'zod';
import type { RetentionReport } from '../../database/retention-reports.ts';
import type { RetentionReports } from '../../platform/privacy/retention-reports.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import contract from '../../schemas/operations/retention.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { retentionReport, retentionReportSummary } from '../../schemas/rest/retention.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Privacy';
const BY_START = { position: BY_TIME.position, of: ({ startedAt, id }: { readonly startedAt: string; readonly id: string }) => ({ at: startedAt, id }) };

/** What was deleted because its time was over. */
export function createRetentionRoutes({ reports }: { readonly reports: RetentionReports }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/privacy/retention-reports',
      id: 'listRetentionReports',
      tag,
      summary: 'Lists reports of retention runs',
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'Latest first.', schema: pageOf(retentionReportSummary) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_START, async (limit, before) => (await reports.list(caller, limit, before)).map(summary)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/retention-reports/:id',
      id: 'getRetentionReport',
      tag,
      summary: 'Reads what a retention run counted and deleted',
      description: 'The id is that of the run: `retention~<id>`.',
      permission: 'privacy:read',
      params: z.object({ id: z.uuid() }),
      responses: { 200: { description: 'The report, table by table.', schema: retentionReport } },
      handler: async ({ caller, params: { id } }) => {
        const { report, tables } = await reports.get(caller, id);
        return { status: 200, body: { ...summary(report), tables: tables.map((table) => ({ ...table, cutoff: table.cutoff.toISOString() })) } };
      },
    }),
  ];
}

function summary({ id, source, dryRun, state, reasons, startedAt, finishedAt }: RetentionReport) {
  return { id, runId: formatRunId({ operation: contract.name, uuid: id }), source, dryRun, state, reasons: [...reasons], startedAt: startedAt.toISOString(), finishedAt: finishedAt?.toISOString() ?? null };
}
