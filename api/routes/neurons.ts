import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import type { ChangeOutcome, NeuronStore, StoredNeuron } from '../../database/neurons.ts';
import { validateNeuron } from '../../neurons/validate-neuron.ts';
import { actOf } from '../../platform/audit/act.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { assertCan } from '../../platform/identity/permissions.ts';
import { HalError } from '../../schemas/errors.ts';
import { type NeuronDraft, neuronDraftSchema, type Rule } from '../../schemas/neurons/definition.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { neuronDetail, neuronParams, neuronPatch, neuronQuery, neuronTestBody, neuronTestResult, neuronVersionView, neuronView, storedNeuronTestBody } from '../../schemas/rest/neurons.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { BY_DRAFT_NAME, READABLE, pageOfReadable } from '../page.ts';
import { testNeuron } from '../neuron-test.ts';
import { IF_MATCH, ifMatch } from '../if-match.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

export interface NeuronRouteOptions {
  readonly neurons: NeuronStore;
  readonly breakers: NeuronBreakerStore;
  /** Operations that decisions may start. */
  readonly contracts: ReadonlyMap<string, OperationContract>;
}

const tag = 'Neurons';
const MOST_VERSIONS = 200;
const found = { 200: { description: 'The neuron.', schema: neuronView } };

/** Neurons: what people make of signals. */
export function createNeuronRoutes({ neurons, breakers, contracts }: NeuronRouteOptions): AnyRoute[] {
  const change = async (caller: Caller, action: string, id: string, expected: number | undefined, by: (draft: NeuronDraft) => NeuronDraft): Promise<RouteAnswer> => {
    const outcome = await neurons.change(caller.orgId, id, expected, (draft) => checked(by(draft), caller, contracts), caller.actor.id, actOf(caller, action, { kind: 'neuron', id }));
    return answer(200, changed(outcome));
  };
  return [
    defineRoute({
      method: 'get',
      path: '/v1/neurons',
      id: 'listNeurons',
      tag,
      summary: 'Lists neurons by name',
      permission: 'neurons:read',
      access: READABLE,
      query: neuronQuery,
      responses: { 200: { description: 'A page of neurons.', schema: pageOf(neuronView) } },
      handler: async ({ caller, query }) => {
        const filter = {
          ...(query.layer === undefined ? {} : { layer: query.layer }),
          ...(query.kind === undefined ? {} : { kind: query.kind }),
          ...(query.enabled === undefined ? {} : { enabled: query.enabled === 'true' }),
        };
        const { items, nextCursor } = await pageOfReadable(caller, 'neurons:read', query, BY_DRAFT_NAME, (limit, after) => neurons.list(caller.orgId, filter, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/neurons',
      id: 'createNeuron',
      tag,
      summary: 'Creates a neuron',
      description: 'Every expression is compiled first. Whoever creates a neuron whose decisions start an operation needs the permission to start it.',
      permission: 'neurons:write',
      audit: 'neuron.create',
      body: neuronDraftSchema,
      responses: { 201: { description: 'The neuron.', schema: neuronView } },
      handler: async ({ caller, body }) => {
        const id = randomUUID();
        const created = await neurons.create(caller.orgId, id, checked(body, caller, contracts), caller.actor.id, actOf(caller, 'neuron.create', { kind: 'neuron', id }));
        if (created === undefined) throw nameTaken();
        return answer(201, created);
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/neurons/test',
      id: 'testNeuronDraft',
      tag,
      summary: 'Tries a neuron on sample signals',
      description: 'Nothing is stored, started or called.',
      permission: 'neurons:read',
      audit: { none: 'changes nothing' },
      body: neuronTestBody,
      responses: { 200: { description: 'What it would do.', schema: neuronTestResult } },
      handler: async ({ body: { neuron, ...samples } }) => {
        refuse(validateNeuron(neuron), '/neuron');
        return { status: 200, body: testNeuron(neuron, samples) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/neurons/:id',
      id: 'getNeuron',
      tag,
      summary: 'Reads a neuron',
      permission: 'neurons:read',
      params: neuronParams,
      responses: { 200: { description: 'The neuron, and how its calls fare.', schema: neuronDetail } },
      handler: async ({ caller, params }) => {
        const neuron = await existing(neurons, caller, params.id);
        const { kind } = neuron.draft.behaviour;
        const circuit = kind === 'llm' || kind === 'http' ? await breakers.view(caller.orgId, neuron.id) : null;
        return { status: 200, body: { ...view(neuron), circuit }, headers: etag(neuron) };
      },
    }),
    defineRoute({
      method: 'put',
      path: '/v1/neurons/:id',
      id: 'replaceNeuron',
      tag,
      summary: 'Replaces a neuron by a new version',
      description: 'With `If-Match: "<version>"` only if nobody changed it meanwhile.',
      permission: 'neurons:write',
      audit: 'neuron.replace',
      params: neuronParams,
      headers: IF_MATCH,
      body: neuronDraftSchema,
      responses: found,
      handler: async ({ caller, params, body, request }) => change(caller, 'neuron.replace', params.id, ifMatch(request.headers['if-match']), () => body),
    }),
    defineRoute({
      method: 'patch',
      path: '/v1/neurons/:id',
      id: 'changeNeuron',
      tag,
      summary: 'Changes parts of a neuron',
      description: 'A JSON merge patch (RFC 7396). With `If-Match: "<version>"` only if nobody changed it meanwhile.',
      permission: 'neurons:write',
      audit: 'neuron.change',
      params: neuronParams,
      headers: IF_MATCH,
      body: neuronPatch,
      responses: found,
      handler: async ({ caller, params, body, request }) => change(caller, 'neuron.change', params.id, ifMatch(request.headers['if-match']), (draft) => parsed(merged(draft, body))),
    }),
    ...(['enable', 'disable'] as const).map((verb) =>
      defineRoute({
        method: 'post',
        path: `/v1/neurons/:id/${verb}`,
        id: `${verb}Neuron`,
        tag,
        summary: verb === 'enable' ? 'Switches a neuron on' : 'Switches a neuron off',
        permission: 'neurons:write',
        audit: `neuron.${verb}`,
        params: neuronParams,
        responses: found,
        handler: async ({ caller, params }) => change(caller, `neuron.${verb}`, params.id, undefined, (draft) => ({ ...draft, enabled: verb === 'enable' })),
      }),
    ),
    defineRoute({
      method: 'get',
      path: '/v1/neurons/:id/versions',
      id: 'listNeuronVersions',
      tag,
      summary: 'Lists the versions of a neuron, newest first',
      description: `At most the latest ${String(MOST_VERSIONS)}.`,
      permission: 'neurons:read',
      params: neuronParams,
      responses: { 200: { description: 'Its versions.', schema: z.object({ items: z.array(neuronVersionView) }) } },
      handler: async ({ caller, params }) => {
        await existing(neurons, caller, params.id);
        const versions = await neurons.versions(caller.orgId, params.id, MOST_VERSIONS);
        return { status: 200, body: { items: versions.map(({ version, draft, createdAt, createdBy }) => ({ version, neuron: draft, createdAt: createdAt.toISOString(), createdBy })) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/neurons/:id/test',
      id: 'testNeuron',
      tag,
      summary: 'Tries a stored neuron on sample signals',
      description: 'From nothing: the state it has gathered is neither used nor changed.',
      permission: 'neurons:read',
      audit: { none: 'changes nothing' },
      params: neuronParams,
      body: storedNeuronTestBody,
      responses: { 200: { description: 'What it would do.', schema: neuronTestResult } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: testNeuron((await existing(neurons, caller, params.id)).draft, body) }),
    }),
  ];
}

async function existing(neurons: NeuronStore, caller: Caller, id: string): Promise<StoredNeuron> {
  const neuron = await neurons.find(caller.orgId, id);
  if (neuron === undefined) throw new HalError('NotFound', 'there is no such neuron');
  return neuron;
}

/**
 * A draft that compiles, whose decisions start only what the caller may start: its operations run with HAL9's own rights.
 * @throws {HalError} InvalidInput, Forbidden.
 */
function checked(draft: NeuronDraft, caller: Caller, contracts: ReadonlyMap<string, OperationContract>): NeuronDraft {
  refuse(validateNeuron(draft), '');
  for (const { type, path } of startedOperations(draft)) {
    const contract = contracts.get(type);
    if (contract === undefined || contract.exposure === 'internal') throw new HalError('InvalidInput', 'the neuron starts an operation that does not exist', { errors: [{ path, message: `no operation "${type}"` }] });
    assertCan(caller, contract.permission, { type });
  }
  return draft;
}

function startedOperations({ behaviour }: NeuronDraft): { type: string; path: string }[] {
  const of = (rules: readonly Rule[], path: string) =>
    rules.flatMap(({ decide }, index) => (decide?.operation === undefined ? [] : [{ type: decide.operation.type, path: `/behaviour/${path}/${String(index)}/decide/operation/type` }]));
  switch (behaviour.kind) {
    case 'rules': return of(behaviour.rules, 'rules');
    case 'llm':
    case 'http': return [...of(behaviour.rules, 'rules'), ...of(behaviour.fallback, 'fallback')];
    case 'detector':
    case 'correlator': return [];
  }
}

function refuse(errors: readonly { path: string; message: string }[], under: string): void {
  if (errors.length > 0) throw new HalError('InvalidInput', 'the neuron does not compile', { errors: errors.map(({ path, message }) => ({ path: `${under}${path}`, message })) });
}

function parsed(value: unknown): NeuronDraft {
  const result = neuronDraftSchema.safeParse(value);
  if (!result.success) throw new HalError('InvalidInput', 'the changed neuron does not match the schema', { errors: result.error.issues.map(({ path, message }) => ({ path: `/${path.map(String).join('/')}`, message })) });
  return result.data;
}

/** RFC 7396, section 2. */
function merged(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function changed(outcome: ChangeOutcome): StoredNeuron {
  switch (outcome.kind) {
    case 'changed': return outcome.neuron;
    case 'missing': throw new HalError('NotFound', 'there is no such neuron');
    case 'stale': throw new HalError('Conflict', `the neuron is at version ${String(outcome.version)} by now`);
    case 'name-taken': throw nameTaken();
  }
}

function nameTaken(): HalError {
  return new HalError('Conflict', 'another neuron has this name');
}

function answer(status: number, neuron: StoredNeuron): RouteAnswer {
  return { status, body: view(neuron), headers: etag(neuron) };
}

function etag({ version }: StoredNeuron): Record<string, string> {
  return { etag: `"${String(version)}"` };
}

function view({ id, version, draft, createdAt, updatedAt }: StoredNeuron): z.input<typeof neuronView> {
  return { ...draft, id, version, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
}
