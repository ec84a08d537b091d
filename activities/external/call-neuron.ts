import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import type { CallKey, CallRecord, NeuronCallStore } from '../../database/neuron-calls.ts';
import { Expression, ExpressionError, signalView } from '../../neurons/expression.ts';
import type { CallAnswer, ExternalNeuron } from '../../neurons/external.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { SignalContext } from '../../neurons/signal-context.ts';
import { isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import type { Budgets } from '../../platform/budgets/budgets.ts';
import { tokenCost } from '../../platform/budgets/money.ts';
import type { Connections } from '../../platform/connections/connections.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import type { Memories } from '../../platform/memory/memories.ts';
import { HalError } from '../../schemas/errors.ts';
import type { HttpBehaviour, LlmBehaviour } from '../../schemas/neurons/definition.ts';
import { parseSubject } from '../../schemas/operations/operation.ts';
import { callService, type HttpInput } from './http-call.ts';
import { countCall } from './metrics.ts';
import { callModel, worstTokens, type ModelInput, type Picture, type TokenUse } from './model-call.ts';

export interface CallDependencies {
  readonly connections: Connections;
  readonly egress: Egress;
  readonly budgets: Budgets;
  /** `fallback`: no model is asked. Default `live`. */
  readonly models?: 'live' | 'fallback';
  readonly calls: NeuronCallStore;
  readonly breakers: NeuronBreakerStore;
  readonly blobs: BlobStore;
  readonly memories: Pick<Memories, 'recall'>;
}

export interface NeuronCall {
  readonly orgId: string;
  readonly batchId: string;
  readonly neuron: ExternalNeuron;
  readonly signal: NeuronSignal;
  /** Shown to a model with the prompt. */
  readonly pictures?: readonly Picture[];
}

export interface NeuronCallResult {
  readonly outcome: CallAnswer;
  /** US dollars, decimal text; what was paid for a failed call too. */
  readonly costUsd: string;
  readonly tokens: TokenUse;
  /** Blob of what was sent and answered; null when there was no answer. */
  readonly context: string | null;
}

/** How a call of one kind is made, what it may cost, and what it cost. */
interface PreparedCall {
  readonly input: ModelInput | HttpInput;
  make(key: string, signal: AbortSignal): Promise<Made>;
}

interface Made {
  readonly outcome: { readonly kind: 'answer'; readonly answer: unknown } | { readonly kind: 'failure'; readonly reason: string; readonly breaks: boolean };
  readonly costUsd: string;
  readonly tokens: TokenUse;
  /** The reservation to settle together with the answer. */
  readonly settlement?: { readonly reservation: string; readonly actual: { calls: number; tokens: number; usd: string } };
}

const RECALLED_SUBJECT = '/behaviour/recall/subject';
const FREE = '0.000000000';
const NO_TOKENS: TokenUse = { input: 0, output: 0 };
/** A probe of a half-open breaker has so long beyond the neuron's own time limit, seconds. */
const PROBE_GRACE = 10;

/**
 * Calls the model or service of a neuron for one signal: an answer, or the reason why its fallback rules must do. Equal calls of a batch
 * are made and paid once. A call is not made while the breaker is open or a budget has no room for its worst case.
 * @throws when `signal` aborts or PostgreSQL or the blob store fail; not for anything the other side does.
 */
export async function callNeuron(deps: CallDependencies, call: NeuronCall, signal: AbortSignal): Promise<NeuronCallResult> {
  const { orgId, batchId, neuron } = call;
  let prepared: PreparedCall;
  let recalled: Recalled;
  try {
    recalled = await recall(deps, call);
    prepared = prepare(deps, call, recalled.context);
  } catch (error) {
    if (error instanceof ExpressionError) return fallback('the request cannot be made from this signal');
    throw error;
  }
  const inputHash = createHash('sha256').update(canonical(prepared.input)).digest();
  const key: CallKey = { batchId, neuronId: neuron.id, neuronVersion: neuron.version, inputHash };
  const known = await deps.calls.find(orgId, key);
  if (known !== undefined) return remembered(deps, call, known);

  const kind = neuron.behaviour.kind;
  const admission = await deps.breakers.admit(orgId, neuron.id, neuron.behaviour.timeoutSeconds + PROBE_GRACE);
  if (admission === 'open') {
    countCall(kind, 'breaker-open');
    return fallback('the circuit breaker of the neuron is open');
  }
  const began = performance.now();
  const made = await prepared.make(inputHash.toString('hex'), signal);
  if (made.outcome.kind === 'failure') {
    countCall(kind, made.outcome.breaks ? 'failed' : 'refused', made);
    if (made.outcome.breaks) await deps.breakers.fail(orgId, neuron.id, neuron.breaker, made.outcome.reason);
    return { ...fallback(made.outcome.reason), costUsd: made.costUsd, tokens: made.tokens };
  }
  countCall(kind, 'answered', made);
  const { answer } = made.outcome;
  const context = await deps.blobs.put(orgId, Buffer.from(JSON.stringify({ ref: call.signal.ref, input: prepared.input, answer: answer ?? null })), recalled.subjectKey);
  const record: CallRecord = { context, costUsd: made.costUsd, inputTokens: made.tokens.input, outputTokens: made.tokens.output, durationMs: Math.round(performance.now() - began) };
  await deps.calls.remember(orgId, key, record, made.settlement);
  await deps.breakers.succeed(orgId, neuron.id);
  return { outcome: { fallback: false, answer: answer ?? null }, costUsd: made.costUsd, tokens: made.tokens, context };
}

/** What prompt and body see. */
interface Recalled {
  readonly context: SignalContext;
  /** Key of whom the memories are about; what was sent is kept under it. */
  readonly subjectKey?: string | undefined;
}

/** Reads what the neuron recalls. @throws {ExpressionError} when its subject cannot be made from this signal. */
async function recall({ memories }: CallDependencies, { orgId, neuron, signal }: NeuronCall): Promise<Recalled> {
  const { recall: asked } = neuron.behaviour;
  const alone = new SignalContext(signal, neuron.layer);
  if (asked === undefined) return { context: alone };
  const { topic, kind, subject: source, limit } = asked;
  const subject = source === undefined ? undefined : alone.text(Expression.compile(source, RECALLED_SUBJECT, 'string'));
  if (subject !== undefined && parseSubject(subject) === undefined) throw new ExpressionError('no_subject', 'the subject is not kind:value', RECALLED_SUBJECT, null);
  const { items, weight, subjectKey } = await memories.recall({ orgId }, { topic, kind, subject: subject ?? null }, limit);
  const memory = { items: items.map((item) => ({ kind: item.kind, topic: item.topic, content: item.content, weight: item.weight, time: item.createdAt.toISOString() })), weight };
  return { context: SignalContext.withMemory(signal, neuron.layer, memory), subjectKey };
}

/** @throws {ExpressionError} when the prompt or body cannot be made from this signal. */
function prepare(deps: CallDependencies, call: NeuronCall, seen: SignalContext): PreparedCall {
  const { behaviour } = call.neuron;
  return behaviour.kind === 'llm' ? prepareModel(deps, call, behaviour, seen) : prepareService(deps, call, behaviour, seen);
}

function prepareModel(deps: CallDependencies, { orgId, batchId, neuron, pictures = [] }: NeuronCall, behaviour: LlmBehaviour, seen: SignalContext): PreparedCall {
  const { connection: name, model, system, answer, maxOutputTokens, price } = behaviour;
  const prompt = seen.text(Expression.compile(behaviour.prompt, '/behaviour/prompt', 'string', behaviour.recall === undefined ? false : 'memory'));
  const input: ModelInput = { kind: 'llm', connection: name, model, system, prompt, answer, maxOutputTokens, ...(pictures.length === 0 ? {} : { pictures: pictures.map(({ mediaType, bytes }) => ({ mediaType, sha256: createHash('sha256').update(bytes).digest('hex') })) }) };
  return {
    input,
    async make(_key, signal) {
      if (deps.models === 'fallback') return refused('this installation asks no models');
      const connection = await openOrUndefined(() => deps.connections.open(orgId, name, ['llm']));
      if (connection === undefined) return refused(`there is no llm connection "${name}"`);
      const worst = worstTokens(input, connection.settings.provider);
      const worstUsd = tokenCost(price, worst.input, worst.output);
      const reservation = await deps.budgets.reserve(orgId, {
        batchId,
        neuronId: neuron.id,
        perCascade: behaviour.perCascade,
        worst: { calls: 1, tokens: worst.input + worst.output, usd: worstUsd },
        seconds: behaviour.timeoutSeconds,
      });
      if (reservation.kind === 'refused') return refused(reservation.reason);
      const whole = { calls: 1, tokens: worst.input + worst.output, usd: worstUsd };
      try {
        const outcome = await callModel(deps.egress, connection.settings, behaviour, input, pictures, signal);
        // Whoever may have billed without saying how much is taken to have billed the worst case.
        const tokens = outcome.tokens ?? worst;
        const costUsd = tokenCost(price, tokens.input, tokens.output);
        const actual = { calls: 1, tokens: tokens.input + tokens.output, usd: costUsd };
        if (outcome.kind === 'answer') return { outcome, costUsd, tokens, settlement: { reservation: reservation.id, actual } };
        await deps.budgets.settle(orgId, reservation.id, tokens.input + tokens.output === 0 ? { calls: 0, tokens: 0, usd: '0' } : actual);
        return { outcome: { kind: 'failure', reason: outcome.reason, breaks: true }, costUsd, tokens };
      } catch (error) {
        await deps.budgets.settle(orgId, reservation.id, whole);
        throw error;
      }
    },
  };
}

function prepareService(deps: CallDependencies, { orgId, neuron, signal: received }: NeuronCall, behaviour: HttpBehaviour, seen: SignalContext): PreparedCall {
  const body = behaviour.body === undefined ? signalView(received, neuron.layer) : seen.map(Expression.compile(behaviour.body, '/behaviour/body', 'map', behaviour.recall === undefined ? false : 'memory'));
  const input: HttpInput = { kind: 'http', connection: behaviour.connection ?? null, method: behaviour.method, url: behaviour.url, body: behaviour.method === 'GET' ? null : body };
  return {
    input,
    async make(key, signal) {
      const name = behaviour.connection;
      const connection = name === undefined ? undefined : await openOrUndefined(() => deps.connections.open(orgId, name, ['http']));
      if (name !== undefined && connection === undefined) return refused(`there is no http connection "${name}"`);
      const outcome = await callService(deps.egress, connection?.settings, behaviour, input, key, signal);
      return { outcome: outcome.kind === 'answer' ? outcome : { ...outcome, breaks: true }, costUsd: FREE, tokens: NO_TOKENS };
    },
  };
}

async function openOrUndefined<Opened>(open: () => Promise<Opened>): Promise<Opened | undefined> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof HalError && (error.type === 'NotFound' || error.type === 'Conflict')) return undefined;
    throw error;
  }
}

/** Our own decision not to call: says nothing about the other side, so the breaker does not count it. */
function refused(reason: string): Made {
  return { outcome: { kind: 'failure', reason, breaks: false }, costUsd: FREE, tokens: NO_TOKENS };
}

function fallback(reason: string): NeuronCallResult {
  return { outcome: { fallback: true, reason }, costUsd: FREE, tokens: NO_TOKENS, context: null };
}

async function remembered(deps: CallDependencies, call: NeuronCall, known: CallRecord): Promise<NeuronCallResult> {
  if (!isBlobRef(known.context)) throw new HalError('Internal', 'the stored context of a call is no blob reference');
  const bytes = await deps.blobs.get(call.orgId, known.context).catch((error: unknown) => {
    if (error instanceof HalError && error.type === 'NotFound') return undefined;
    throw error;
  });
  // Its key goes with the person whom the neuron recalled.
  if (bytes === undefined) return fallback('what the answer rested on is not there any more');
  const stored = contextSchema.parse(JSON.parse(bytes.toString('utf8')));
  const outcome: CallAnswer = { fallback: false, answer: stored.answer };
  // An equal call for another signal of the batch was paid for by that one.
  if (stored.ref !== call.signal.ref) return { outcome, costUsd: FREE, tokens: NO_TOKENS, context: known.context };
  return { outcome, costUsd: known.costUsd, tokens: { input: known.inputTokens, output: known.outputTokens }, context: known.context };
}

/** What the blob of a call holds, as far as a retry needs it. */
const contextSchema = z.object({ ref: z.string(), answer: z.unknown() });

/** JSON with sorted keys: equal inputs have equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  );
}
