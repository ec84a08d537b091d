import { z } from 'zod';
import type { FiringRecord } from '../../database/automation-firings.ts';
import type { StoredAutomation } from '../../database/automations.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { signalOf, type Automations, type SavedAutomation, type Trial } from '../../platform/automations/automations.ts';
import { automationDraftSchema } from '../../schemas/automations/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import {
  automationDryRunBody, automationParams, automationTestBody, automationVersionView, automationView, firingQuery, firingView, savedAutomation, storedDryRunBody, trialResult,
} from '../../schemas/rest/automations.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { BY_DRAFT_NAME, READABLE, pageOfList, pageOfReadable } from '../page.ts';
import { IF_MATCH, ifMatch } from '../if-match.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

const tag = 'Automations';
const BY_SEQUENCE = { position: z.object({ seq: z.int() }).transform(({ seq }) => seq), of: ({ seq }: { readonly seq: number }) => ({ seq }) };
const MOST_VERSIONS = 200;
const found = { 200: { description: 'The automation.', schema: savedAutomation } };

/** Automations: what happens on its own when a signal comes in. */
export function createAutomationRoutes({ automations }: { automations: Automations }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/automations',
      id: 'listAutomations',
      tag,
      summary: 'Lists automations by name',
      permission: 'automations:read',
      access: READABLE,
      query: pageQuery,
      responses: { 200: { description: 'A page of automations.', schema: pageOf(automationView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfReadable(caller, 'automations:read', query, BY_DRAFT_NAME, (limit, after) => automations.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/automations',
      id: 'createAutomation',
      tag,
      summary: 'Creates an automation',
      description: 'Every expression is compiled first. Whoever creates it needs the permission for its effect and becomes its owner.',
      permission: 'automations:write',
      audit: 'automation.create',
      body: automationDraftSchema,
      responses: { 201: { description: 'The automation.', schema: savedAutomation } },
      handler: async ({ caller, body }) => saved(201, await automations.create(caller, body)),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/automations/test',
      id: 'testAutomation',
      tag,
      summary: 'Tries a draft on sample signals',
      description: 'Nothing is stored, started or sent.',
      permission: 'automations:read',
      audit: { none: 'computes only' },
      body: automationTestBody,
      responses: { 200: { description: 'What it would do with each, in their order.', schema: trialResult } },
      handler: ({ body }) => Promise.resolve({ status: 200, body: trials(automations.test(body.automation, body.signals.map(sample))) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/automations/dry-run',
      id: 'dryRunAutomationDraft',
      tag,
      summary: 'Shows what a draft would have done with the latest signals it looks at',
      description: 'Nothing is stored, started or sent. Needs the permission to read signals as well, because the answer tells of them.',
      permission: 'signals:read',
      audit: { none: 'computes only' },
      body: automationDryRunBody,
      responses: { 200: { description: 'What it would have done with each, newest first.', schema: trialResult } },
      handler: async ({ caller, body }) => ({ status: 200, body: trials(await automations.dryRun(caller, body.automation, body.signals)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/automations/:id',
      id: 'getAutomation',
      tag,
      summary: 'Reads an automation',
      permission: 'automations:read',
      params: automationParams,
      responses: { 200: { description: 'The automation.', schema: automationView } },
      handler: async ({ caller, params }) => {
        const automation = await automations.get(caller, params.id);
        return { status: 200, body: view(automation), headers: etag(automation) };
      },
    }),
    defineRoute({
      method: 'put',
      path: '/v1/automations/:id',
      id: 'replaceAutomation',
      tag,
      summary: 'Replaces an automation by a new version',
      description: 'The caller becomes its owner, and a pause ends. With `If-Match: "<version>"` only if nobody changed it meanwhile.',
      permission: 'automations:write',
      audit: 'automation.update',
      params: automationParams,
      headers: IF_MATCH,
      body: automationDraftSchema,
      responses: found,
      handler: async ({ caller, params, body, request }) => saved(200, await automations.replace(caller, params.id, ifMatch(request.headers['if-match']), body)),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/automations/:id',
      id: 'deleteAutomation',
      tag,
      summary: 'Removes an automation',
      description: 'What it did stays readable for 30 days; what still waited is skipped.',
      permission: 'automations:write',
      audit: 'automation.delete',
      params: automationParams,
      responses: { 204: { description: 'It is gone.' } },
      handler: async ({ caller, params }) => {
        await automations.remove(caller, params.id);
        return { status: 204 };
      },
    }),
    ...(['enable', 'disable'] as const).map((verb) =>
      defineRoute({
        method: 'post',
        path: `/v1/automations/:id/${verb}`,
        id: `${verb}Automation`,
        tag,
        summary: verb === 'enable' ? 'Switches an automation on, or ends its pause' : 'Switches an automation off',
        ...(verb === 'enable' ? { description: 'The caller needs the permission for its effect and becomes its owner.' } : {}),
        permission: 'automations:write',
        audit: `automation.${verb}`,
        params: automationParams,
        responses: found,
        handler: async ({ caller, params }) => saved(200, await automations.setEnabled(caller, params.id, verb === 'enable')),
      }),
    ),
    defineRoute({
      method: 'get',
      path: '/v1/automations/:id/versions',
      id: 'listAutomationVersions',
      tag,
      summary: 'Lists the versions of an automation, newest first',
      description: `At most the latest ${String(MOST_VERSIONS)}.`,
      permission: 'automations:read',
      params: automationParams,
      responses: { 200: { description: 'Its versions.', schema: z.object({ items: z.array(automationVersionView) }) } },
      handler: async ({ caller, params }) => {
        const versions = await automations.versions(caller, params.id, MOST_VERSIONS);
        return { status: 200, body: { items: versions.map(({ version, draft, createdAt, createdBy }) => ({ version, automation: draft, createdAt, createdBy })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/automations/:id/firings',
      id: 'listAutomationFirings',
      tag,
      summary: 'Lists what an automation did, newest first',
      permission: 'automations:read',
      params: automationParams,
      query: firingQuery,
      responses: { 200: { description: 'A page of firings.', schema: pageOf(firingView) } },
      handler: async ({ caller, params, query }) => {
        const { items, nextCursor } = await pageOfList(query, BY_SEQUENCE, (limit, before) => automations.firings(caller, params.id, query.state === undefined ? {} : { state: query.state }, limit, before));
        return { status: 200, body: { items: items.map(firing), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/automations/:id/dry-run',
      id: 'dryRunAutomation',
      tag,
      summary: 'Shows what an automation would have done with the latest signals it looks at',
      description: 'Nothing is stored, started or sent, whether or not it is enabled.',
      permission: 'signals:read',
      audit: { none: 'computes only' },
      params: automationParams,
      body: storedDryRunBody.prefault({}),
      responses: { 200: { description: 'What it would have done with each, newest first.', schema: trialResult } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: trials(await automations.dryRun(caller, (await automations.get(caller, params.id)).draft, body.signals)) }),
    }),
  ];
}

function view({ id, version, draft, owner, pausedAt, pausedReason, createdAt, updatedAt }: StoredAutomation) {
  return { ...draft, id, version, owner: { kind: owner.kind, id: owner.id }, paused: pausedAt === null ? null : { at: pausedAt, reason: pausedReason ?? '' }, createdAt, updatedAt };
}

function saved(status: number, { automation, warnings }: SavedAutomation): RouteAnswer {
  return { status, body: { ...view(automation), warnings }, headers: { ...etag(automation), ...(status === 201 ? { Location: `/v1/automations/${automation.id}` } : {}) } };
}

function firing({ id, automationVersion, signalKey, signalType, signals, state, reason, effect, runId, emittedKey, chain, createdAt, doneAt }: FiringRecord) {
  return { id, automationVersion, signal: signalKey, signalType, signals, state, reason, effect, runId, emitted: emittedKey, chain, createdAt, doneAt };
}

function trials(items: readonly Trial[]) {
  return {
    matched: items.filter(({ verdict }) => verdict.kind !== 'unmatched').length,
    wouldFire: items.filter(({ verdict }) => verdict.kind === 'fire').length,
    items: items.map(({ signal, type, verdict, inputErrors }) => ({
      signal,
      type,
      outcome: verdict.kind,
      reason: verdict.kind === 'skip' || verdict.kind === 'fail' ? verdict.reason : null,
      effect: verdict.kind === 'fire' ? verdict.effect : null,
      inputErrors,
    })),
  };
}

function sample(value: Readonly<Record<string, unknown>>): NeuronSignal {
  const signal = signalOf({ ...value, time: value['time'] ?? new Date().toISOString() }, '');
  if (signal === undefined) throw new HalError('InvalidInput', 'a sample is no signal');
  return signal;
}

function etag({ version }: StoredAutomation): Record<string, string> {
  return { etag: `"${String(version)}"` };
}
