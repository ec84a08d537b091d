import { z } from 'zod';
import type { DecisionStore, StoredDecision } from '../../database/decisions.ts';
import { HalError } from '../../schemas/errors.ts';
import { decisionFilter, decisionParams, decisionView } from '../../schemas/rest/decisions.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const position = z.object({ at: z.iso.datetime(), id: z.guid() });

/** Decisions: what was decided, why, on what evidence, and what came of it. */
export function createDecisionRoutes(decisions: DecisionStore): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/decisions',
      id: 'listDecisions',
      tag: 'Decisions',
      summary: 'Lists decisions, newest first',
      permission: 'decisions:read',
      query: pageQuery.extend(decisionFilter.shape),
      responses: { 200: { description: 'A page of decisions.', schema: pageOf(decisionView) } },
      handler: async ({ caller, query }) => {
        const filter = {
          ...(query.neuron === undefined ? {} : { neuronId: query.neuron }),
          ...(query.layer === undefined ? {} : { layer: query.layer }),
          ...(query.severity === undefined ? {} : { severity: query.severity }),
          ...(query.state === undefined ? {} : { state: query.state }),
          ...(query.from === undefined ? {} : { from: new Date(query.from) }),
          ...(query.to === undefined ? {} : { to: new Date(query.to) }),
        };
        const at = query.cursor === undefined ? undefined : decodeCursor(query.cursor, position);
        const page = await decisions.list(caller.orgId, filter, query.limit + 1, at === undefined ? undefined : { createdAt: new Date(at.at), id: at.id });
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(viewOfDecision), nextCursor: last === undefined ? null : encodeCursor({ at: last.createdAt.toISOString(), id: last.id }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/decisions/:id',
      id: 'getDecision',
      tag: 'Decisions',
      summary: 'Reads a decision',
      permission: 'decisions:read',
      params: decisionParams,
      responses: { 200: { description: 'The decision.', schema: decisionView } },
      handler: async ({ caller, params }) => {
        const decision = await decisions.find(caller.orgId, params.id);
        if (decision === undefined) throw new HalError('NotFound', 'there is no such decision');
        return { status: 200, body: viewOfDecision(decision) };
      },
    }),
  ];
}

export function viewOfDecision(decision: StoredDecision): z.input<typeof decisionView> {
  const { neuronId, neuronVersion, neuronName, batchId, eventTime, causes, durationUs, state, createdAt, ...rest } = decision;
  return {
    ...rest,
    neuron: { id: neuronId, version: neuronVersion, name: neuronName },
    batch: batchId,
    eventTime: eventTime.toISOString(),
    causes: [...causes],
    durationMs: durationUs / 1000,
    effectState: state,
    createdAt: createdAt.toISOString(),
  };
}
