import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { DecisionStore } from '../../database/decisions.ts';
import type { ReceivedSignal, SignalReadStore } from '../../database/signal-reads.ts';
import type { SignalStore } from '../../database/signals.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { binaryEvent, parseJson, signalForm, type SignalForm } from '../../platform/signals/cloudevents.ts';
import { uuidText } from '../../platform/signals/key.ts';
import type { SignalReceiver } from '../../platform/signals/receive.ts';
import { knownDecision } from '../../platform/signals/decide.ts';
import { commitWaiting, type Decide } from '../../platform/signals/waiting.ts';
import { quotaHeader, type Admission } from '../../platform/usage/quota-gate.ts';
import { HalError } from '../../schemas/errors.ts';
import { signalDecision } from '../../schemas/rest/decisions.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { sendQuery, signalFilter, signalParams, signalView } from '../../schemas/rest/signals.ts';
import { receiptSchema, signalSchema, type Receipt } from '../../schemas/signals/signal.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

export interface SignalRouteOptions {
  readonly receiver: SignalReceiver;
  readonly store: SignalStore;
  readonly reads: SignalReadStore;
  /** Largest body that is read as a whole, bytes; streams of lines have no total limit. */
  readonly bodyLimitBytes: number;
  /** Answers `wait=true`; without it that is refused. */
  readonly decide?: Decide;
  /** Answers `wait=true` for a signal that was accepted before. */
  readonly decisions?: DecisionStore;
  readonly admission?: Pick<Admission, 'warning'>;
}

const position = z.object({ day: z.iso.date(), chunk: z.int(), ordinal: z.int() });
/** Plain JSON may leave `specversion` out. */
const plainSignal = signalSchema.extend({ specversion: z.literal('1.0').default('1.0') });

/** Takes signals in and shows them. */
export function createSignalRoutes(options: SignalRouteOptions): AnyRoute[] {
  const { reads } = options;
  return [
    defineRoute({
      method: 'post',
      path: '/v1/signals',
      id: 'sendSignals',
      tag: 'Signals',
      summary: 'Takes in signals: one, a batch, or a stream of lines',
      description:
        'CloudEvents 1.0 in binary (`ce-` headers), structured or batched mode, or plain JSON (an object or an array), where `specversion` may be left out; or NDJSON, one signal a line. '
        + 'A signal without `time` gets the time of receipt. 202 means committed. A signal with a (source, id) that was accepted within the dedup window counts as a duplicate. '
        + 'In batches and streams the good signals go in and the bad ones are named by line. With `wait=true` a single signal is answered by its decision.',
      permission: 'signals:write',
      audit: { none: 'signals are the data plane: their rows are their own record' },
      timeoutMs: 0,
      query: sendQuery,
      rawBody: {
        'application/json': z.union([plainSignal, z.array(plainSignal)]),
        'application/cloudevents+json': signalSchema,
        'application/cloudevents-batch+json': z.array(signalSchema),
        'application/x-ndjson': plainSignal,
      },
      responses: {
        200: { description: 'The decision, with `wait=true`.', schema: signalDecision },
        202: { description: 'Committed.', schema: receiptSchema },
      },
      handler: async ({ caller, query, request, signal }) => {
        const form = signalForm(request.headers);
        if (query.wait === 'true') return waited(options, caller, await single(request, form, options.bodyLimitBytes), form, { timeoutMs: query.timeoutMs, signal });
        const body = await receive(options, caller, request, form);
        return { status: 202, body, headers: quotaHeader(options.admission, caller.orgId) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/signals',
      id: 'listSignals',
      tag: 'Signals',
      summary: 'Lists signals, latest arrival first',
      description: 'A page may hold fewer signals than `limit`, or none, and still have a `nextCursor`: a page looks at 20,000 signals at most.',
      permission: 'signals:read',
      query: pageQuery.extend(signalFilter.shape),
      responses: { 200: { description: 'A page of signals.', schema: pageOf(signalView) } },
      handler: async ({ caller, query }) => {
        const at = query.cursor === undefined ? undefined : decodeCursor(query.cursor, position);
        const filter = {
          ...(query.type === undefined ? {} : { type: query.type }),
          ...(query.source === undefined ? {} : { source: query.source }),
          ...(query.from === undefined ? {} : { from: new Date(query.from) }),
          ...(query.to === undefined ? {} : { to: new Date(query.to) }),
        };
        const { signals, next } = await reads.list(caller.orgId, filter, query.limit, at === undefined ? undefined : { day: at.day, chunkId: at.chunk, ordinal: at.ordinal });
        return { status: 200, body: { items: signals.map(view), nextCursor: next === undefined ? null : encodeCursor({ day: next.day, chunk: next.chunkId, ordinal: next.ordinal }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/signals/:id',
      id: 'getSignal',
      tag: 'Signals',
      summary: 'Reads a signal and how far it is',
      description: 'By the id in its receipt, for as long as the dedup window lasts.',
      permission: 'signals:read',
      params: signalParams,
      responses: { 200: { description: 'The signal.', schema: signalView } },
      handler: async ({ caller, params }) => {
        const found = await reads.find(caller.orgId, params.id);
        if (found === undefined) throw new HalError('NotFound', 'there is no such signal, or it left the dedup window');
        return { status: 200, body: view(found) };
      },
    }),
  ];
}

async function receive({ receiver, bodyLimitBytes }: SignalRouteOptions, caller: Caller, request: IncomingMessage, form: SignalForm): Promise<Receipt> {
  if (form === 'lines') return receiver.stream(caller, chunksOf(request));
  const bytes = await readBody(request, bodyLimitBytes);
  if (form === 'binary') return receiver.one(caller, binaryEvent(request.headers, bytes), { defaultSpecversion: false });
  const value = parseJson(bytes);
  if (form === 'structured') return receiver.one(caller, value, { defaultSpecversion: false });
  const defaultSpecversion = form === 'json';
  if (Array.isArray(value)) return receiver.batch(caller, value, { defaultSpecversion });
  if (form === 'batch') throw new HalError('MalformedBody', 'a batch is a JSON array');
  return receiver.one(caller, value, { defaultSpecversion });
}

/** The one signal of a request that waits. */
async function single(request: IncomingMessage, form: SignalForm, limitBytes: number): Promise<unknown> {
  if (form === 'lines' || form === 'batch') throw new HalError('UnsupportedMediaType', 'wait=true takes one signal: application/json, application/cloudevents+json, or ce- headers');
  const bytes = await readBody(request, limitBytes);
  return form === 'binary' ? binaryEvent(request.headers, bytes) : parseJson(bytes);
}

async function waited(options: SignalRouteOptions, caller: Caller, value: unknown, form: SignalForm, limits: { timeoutMs: number; signal: AbortSignal }): Promise<RouteAnswer> {
  const { decide, decisions, reads, receiver, store } = options;
  if (decide === undefined || decisions === undefined) throw new HalError('DependencyUnavailable', 'this process cannot wait for decisions; send without wait=true');
  const row = receiver.prepareOne(caller, value, { defaultSpecversion: form === 'json' });
  await receiver.admit(caller, 1);
  const waiting = await commitWaiting(store, caller, row);
  try {
    const body = waiting === undefined ? await knownDecision({ decisions, reads }, caller, uuidText(row.key), limits) : await decide(caller, waiting, limits);
    return { status: 200, body };
  } catch (error) {
    // Without a decision that is on the disk the failure says no less: the signal is in.
    await store.keep(caller.orgId);
    throw error;
  }
}

/** The body as it arrives. Left open at the end of the loop, so that a failure halfway can still be answered. */
async function* chunksOf(request: IncomingMessage): AsyncIterable<Buffer> {
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('the body is read as bytes');
    yield chunk;
  }
}

/** @throws {HalError} BodyTooLarge. */
async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const tooLarge = new HalError('BodyTooLarge', `the limit is ${limitBytes} bytes; application/x-ndjson has none`);
  if (Number(request.headers['content-length']) > limitBytes) throw tooLarge;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunksOf(request)) {
    size += chunk.length;
    if (size > limitBytes) throw tooLarge;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

function view(signal: ReceivedSignal): z.input<typeof signalView> {
  const batchState = signal.batchState ?? 'open';
  return {
    id: signal.key,
    signal: z.record(z.string(), z.unknown()).parse(JSON.parse(signal.envelope)),
    receivedAt: signal.receivedAt.toISOString(),
    lane: signal.lane,
    chunk: signal.chunkId,
    batch: signal.batchId,
    state: batchState === 'open' ? 'pending' : batchState,
    decidedAt: signal.decidedAt?.toISOString() ?? null,
  };
}
