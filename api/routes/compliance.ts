import type { EvidenceRecord } from '../../database/evidence.ts';
import type { Compliance } from '../../platform/compliance/compliance.ts';
import { LEFT_TO_YOU } from '../../platform/compliance/controls.ts';
import { complianceQuery, complianceView, controlParams, evidenceList, evidenceQuery } from '../../schemas/rest/compliance.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Compliance';
const DAY_MS = 86_400_000;
const PERIOD_DAYS = 90;

/** The control map with its evidence. */
export function createComplianceRoutes({ compliance }: { compliance: Compliance }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/compliance',
      id: 'getCompliance',
      tag,
      summary: 'The controls for SOC 2, ISO 27001 and GDPR, their last evidence, and how much of a period it covers',
      permission: 'compliance:read',
      query: complianceQuery,
      responses: { 200: { description: 'Each control; days without evidence are gaps.', schema: complianceView } },
      handler: async ({ caller, query }) => {
        const last = query.to ?? new Date().toISOString().slice(0, 10);
        const end = new Date(Date.parse(`${last}T00:00:00Z`) + DAY_MS);
        const first = query.from ?? new Date(end.getTime() - PERIOD_DAYS * DAY_MS).toISOString().slice(0, 10);
        const standing = await compliance.standing(caller, new Date(`${first}T00:00:00Z`), end);
        const controls = standing.map(({ control, state, last: latest, coverage }) => ({ ...control, state, last: latest === undefined ? null : view(latest), coverage }));
        return { status: 200, body: { from: first, to: last, controls, leftToYou: LEFT_TO_YOU } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/compliance/:id/evidence',
      id: 'listEvidence',
      tag,
      summary: 'Evidence of a control, newest first',
      permission: 'compliance:read',
      params: controlParams,
      query: evidenceQuery,
      responses: { 200: { description: 'What was collected.', schema: evidenceList } },
      handler: async ({ caller, params, query }) => {
        const items = await compliance.evidenceOf(caller, params.id, query.limit, query.before === undefined ? undefined : new Date(query.before));
        return { status: 200, body: { items: items.map(view) } };
      },
    }),
  ];
}

function view({ at, result, numbers, hash, previousHash }: EvidenceRecord) {
  return { at: at.toISOString(), result, numbers, hash, previousHash };
}
