import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { Plans, StatementView } from '../../platform/usage/plans.ts';
import { METERS } from '../../schemas/usage/meters.ts';
import { PLAN_NAMES, PLANS } from '../../schemas/usage/plans.ts';
import {
  planDraft, planList, planParams, planView, platformUsage, platformUsageQuery, statementFormat, statementList, statementParams, statementsQuery, statementView, usageQuery, usageSeries, usageSummary,
} from '../../schemas/rest/usage.ts';
import { csvOf } from '../csv.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

const tag = 'Usage';
const DAY_MS = 86_400_000;
const CSV = { 'text/csv': z.string() };

/** What organisations use, may use, and used in months that are over. */
export function createUsageRoutes({ plans }: { plans: Plans }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/usage',
      id: 'listUsage',
      tag,
      summary: 'Use over time, by meter and step',
      description: 'Counts up to this moment. Spans reach 32 days by hour, 400 by day, ten years by month.',
      permission: 'usage:read',
      query: usageQuery,
      responses: { 200: { description: 'The series.', schema: usageSeries } },
      handler: async ({ caller, query }) => {
        const to = query.to === undefined ? new Date() : new Date(query.to);
        const from = query.from === undefined ? new Date(to.getTime() - 30 * DAY_MS) : new Date(query.from);
        const items = await plans.series(caller, { from, to, step: query.by, meter: query.meter });
        return { status: 200, body: { by: query.by, from: from.toISOString(), to: to.toISOString(), items: items.map(({ meter, start, quantity }) => ({ meter, start: start.toISOString(), quantity })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/usage/summary',
      id: 'getUsageSummary',
      tag,
      summary: 'The running month against the quotas of the plan',
      permission: 'usage:read',
      responses: { 200: { description: 'Used, projected, and the quotas.', schema: usageSummary } },
      handler: async ({ caller }) => {
        const { month, ...summary } = await plans.summary(caller);
        return { status: 200, body: { ...summary, month: month.name, from: month.from.toISOString(), to: month.to.toISOString() } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/plans',
      id: 'listPlans',
      tag,
      summary: 'The plans with their quotas and limits',
      permission: 'usage:read',
      responses: { 200: { description: 'From least to most.', schema: planList } },
      handler: async () => ({ status: 200, body: { items: PLAN_NAMES.map((name) => PLANS[name]) } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/statements',
      id: 'listStatements',
      tag,
      summary: 'Statements of closed months, newest first',
      permission: 'usage:read',
      query: statementsQuery,
      responses: { 200: { description: 'The statements; as `text/csv` a line each meter and month.', schema: statementList, alternatives: CSV } },
      handler: async ({ caller, query, request }) => answer(request, query.format, 'statements', await plans.statements(caller, query.limit, query.before), (items) => ({ items: items.map(view) })),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/statements/:month',
      id: 'getStatement',
      tag,
      summary: 'The statement of a month',
      description: 'Of a month that is over it never changes: each is chained to the one before by its hash. Of the running month it shows how it stands.',
      permission: 'usage:read',
      params: statementParams,
      query: statementFormat,
      responses: { 200: { description: 'The statement; `text/csv` by Accept or `format`.', schema: statementView, alternatives: CSV } },
      handler: async ({ caller, params, query, request }) => answer(request, query.format, `statement-${params.month}`, [await plans.statement(caller, params.month)], ([statement]) => statement === undefined ? {} : view(statement)),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/platform/usage',
      id: 'listPlatformUsage',
      tag,
      summary: 'A month of every organisation',
      description: 'For the organisation that runs the installation only.',
      permission: 'usage:read',
      query: platformUsageQuery,
      responses: { 200: { description: 'What each used.', schema: platformUsage } },
      handler: async ({ caller, query }) => {
        const { month, items } = await plans.ofAllOrganisations(caller, query.month);
        return { status: 200, body: { month: month.name, items: items.map(({ orgId, plan, quantities }) => ({ organisation: orgId, plan, quantities })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/platform/organisations/:organisation/plan',
      id: 'getOrganisationPlan',
      tag,
      summary: 'The plan of an organisation',
      description: 'For the organisation that runs the installation only.',
      permission: 'plans:read',
      params: planParams,
      responses: { 200: { description: 'The plan with what was agreed besides.', schema: planView } },
      handler: async ({ caller, params }) => ({ status: 200, body: planBody(await plans.planOfOrganisation(caller, params.organisation)) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/platform/organisations/:organisation/plan',
      id: 'setOrganisationPlan',
      tag,
      summary: 'Sets the plan of an organisation',
      description: 'For the organisation that runs the installation only. Overrides replace those before; null lifts a limit. Takes effect within a second; what is over a new limit stays, and nothing more comes.',
      permission: 'plans:write',
      audit: 'plan.set',
      params: planParams,
      body: planDraft,
      responses: { 200: { description: 'The plan now.', schema: planView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: planBody(await plans.set(caller, params.organisation, body.plan, body.overrides)) }),
    }),
  ];
}

function answer(request: IncomingMessage, format: 'json' | 'csv' | undefined, name: string, statements: readonly StatementView[], json: (statements: readonly StatementView[]) => unknown): RouteAnswer {
  const csv = format === undefined ? /\btext\/csv\b/.test(request.headers.accept ?? '') : format === 'csv';
  if (!csv) return { status: 200, body: json(statements), headers: { Vary: 'Accept' } };
  const head = ['month', 'state', 'plan', 'meter', 'unit', 'quantity', 'soft', 'hard', 'hash'];
  const rows = statements.flatMap(({ month, state, plan, lines, hash }) => lines.map(({ meter, unit, quantity, soft, hard }) => [month, state, plan, meter, unit, quantity, soft, hard, hash]));
  return { status: 200, body: csvOf([head, ...rows]), headers: { 'Content-Type': 'text/csv; charset=utf-8; header=present', 'Content-Disposition': `attachment; filename="${name}.csv"`, Vary: 'Accept' } };
}

function view({ closedAt, lines, ...statement }: StatementView) {
  return { ...statement, lines: [...lines].sort((a, b) => METERS.indexOf(a.meter) - METERS.indexOf(b.meter)), closedAt: closedAt?.toISOString() ?? null };
}

function planBody({ orgId, plan, overrides, entitlements, updatedAt, updatedBy }: Awaited<ReturnType<Plans['planOfOrganisation']>>) {
  return { organisation: orgId, plan, overrides, entitlements, updatedAt: updatedAt.toISOString(), updatedBy };
}
