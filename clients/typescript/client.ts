import { randomUUID } from 'node:crypto';
import { headersOf, pathOf, type CallAnswer, type CallInput, type ItemOf, type OperationId, type PagedId } from './call.ts';
import { readEvents, type StreamEvent, type StreamOptions } from './event-stream.ts';
import { groupsOfLines } from './lines.ts';
import { OPERATIONS } from './operations.ts';
import type { OperationRow } from './operation-row.ts';
import type { ClientOptions } from './options.ts';
import { RequestTimeout } from './problem.ts';
import type { components } from './schema.ts';
import { Transport } from './transport.ts';

export type Run = components['schemas']['RunDetail'];
export type RunOutcome = components['schemas']['RunOutcome'];
export type StartedRun = components['schemas']['StartedRun'];
export type SignalReceipt = CallAnswer<'sendSignals'>;

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Makes a POST safe to repeat where the operation takes the header. */
  readonly idempotencyKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: the client's. */
  readonly timeoutMs?: number;
}

/** What a start takes besides the input; `timeoutMs` is of the request, `timeoutSeconds` of the run. */
export interface StartOptions extends CallOptions, Omit<Extract<CallInput<'startRun'>, { body: unknown }>['body'], 'input' | 'tags'> {
  readonly tags?: readonly string[];
  /** Waits for the end within the same request, seconds, 60 at most. */
  readonly waitSeconds?: number;
}

export interface UploadOptions {
  readonly signal?: AbortSignal;
  /** Lines of one request. Default 5,000. */
  readonly lines?: number;
  /** Told after each request that was committed. */
  readonly onProgress?: (progress: Upload & { readonly bytes: number }) => void;
}

/** What became of lines sent so far. */
export interface Upload {
  readonly lines: number;
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: number;
  /** The first 1,000, lines counted over the whole upload from 1. */
  readonly rejections: readonly { readonly line: number; readonly errors: readonly { readonly path: string; readonly message: string }[] }[];
}

const UPLOAD_LINES = 5000;
/** Bytes of one request of an upload. */
const UPLOAD_BYTES = 4 * 1024 * 1024;
const REJECTION_LIMIT = 1000;
/** One long poll, seconds; the API allows 60. */
const POLL_SECONDS = 50;

/** The API of HAL9. Every method throws {@link ApiError} for what the API refuses, and ConnectionError or RequestTimeout when no answer comes. */
export class Hal9Client {
  readonly #transport: Transport;
  readonly runs: Runs;
  readonly signals: Signals;

  constructor(options: ClientOptions) {
    this.#transport = new Transport(options);
    this.runs = new Runs(this, this.#transport);
    this.signals = new Signals(this.#transport);
  }

  /** Sends one operation of the API and answers its body. */
  async call<Id extends OperationId>(id: Id, input: CallInput<Id>, options: CallOptions = {}): Promise<CallAnswer<Id>> {
    const { params, body } = input;
    const answer = await this.request(OPERATIONS[id], isRecord(params) ? params : {}, { ...options, ...(body === undefined ? {} : { body }) });
    // The document says what the answer is; a test compares it with what the server sends.
    return answer as CallAnswer<Id>;
  }

  /** Items of a list, page after page, read as they are asked for. */
  async *items<Id extends PagedId>(id: Id, params: CallInput<Id>['params'], options: CallOptions = {}): AsyncGenerator<ItemOf<Id>, void, undefined> {
    let cursor: string | undefined;
    do {
      const page = await this.request(OPERATIONS[id], { ...(isRecord(params) ? params : {}), ...(cursor === undefined ? {} : { cursor }) }, options);
      if (!isPage<ItemOf<Id>>(page)) throw new TypeError(`${id} answered no page`);
      yield* page.items;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** As {@link call}, for operations known at run time only, such as those of another version's document. */
  async request(row: OperationRow, params: Readonly<Record<string, unknown>>, options: CallOptions & { readonly body?: unknown } = {}): Promise<unknown> {
    const response = await this.open(row, params, options);
    if (response.status === 204) return undefined;
    const text = await response.text();
    if (!isJson(response)) return text;
    return text === '' ? undefined : JSON.parse(text);
  }

  /** As {@link request}, with the answer's body unread: for exports and streams. A body of bytes is sent as it is, under the `content-type` of the headers. */
  open(row: OperationRow, params: Readonly<Record<string, unknown>>, options: CallOptions & { readonly body?: unknown } = {}): Promise<Response> {
    const { body, idempotencyKey, headers, signal, timeoutMs } = options;
    return this.#transport.send({
      method: row.method,
      path: pathOf(row, params),
      headers: {
        ...(body === undefined ? {} : { 'content-type': typeOf(row, body) }),
        ...headersOf(row, params),
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: written(row, body) }),
      ...(signal === undefined ? {} : { signal }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  /** Events of a path that streams, e.g. `/v1/runs/{id}/stream`; opened again where it broke. */
  stream(path: string, options?: StreamOptions): AsyncGenerator<StreamEvent, void, undefined> {
    return readEvents(this.#transport, path, options);
  }
}

/** Whether an answer is one JSON value; NDJSON is many. */
export function isJson(response: Response): boolean {
  return /^application\/(?:[\w.-]+\+)?json\b/.test(response.headers.get('content-type') ?? '');
}

const FORM = 'application/x-www-form-urlencoded';

function typeOf(row: OperationRow, body: unknown): string {
  const [usual = 'application/json'] = row.body?.types ?? [];
  if (usual === FORM) return FORM;
  return body instanceof Uint8Array || !usual.includes('json') ? 'application/octet-stream' : 'application/json';
}

/** A form is made of the fields of an object. */
function written(row: OperationRow, body: unknown): string | Uint8Array<ArrayBuffer> {
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return new Uint8Array(body);
  if (row.body?.types[0] !== FORM || typeof body !== 'object' || body === null) return JSON.stringify(body);
  return new URLSearchParams(Object.entries(body).map(([name, value]): [string, string] => [name, String(value)])).toString();
}

/** Starting runs and following them. */
class Runs {
  readonly #client: Hal9Client;
  readonly #transport: Transport;

  constructor(client: Hal9Client, transport: Transport) {
    this.#client = client;
    this.#transport = transport;
  }

  /** Starts a run; an idempotency key is made when none is given, so that repetitions start one run. */
  async start(operation: string, input: unknown, options: StartOptions = {}): Promise<StartedRun> {
    const { waitSeconds, signal, idempotencyKey, headers, timeoutMs, ...body } = options;
    const response = await this.#transport.send({
      method: 'POST',
      path: `/v1/workflows/${encodeURIComponent(operation)}/runs`,
      headers: {
        'content-type': 'application/json',
        'idempotency-key': idempotencyKey ?? randomUUID(),
        ...(waitSeconds === undefined ? {} : { prefer: `wait=${Math.ceil(waitSeconds)}` }),
        ...headers,
      },
      body: JSON.stringify({ ...body, input }),
      ...(signal === undefined ? {} : { signal }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    return (await response.json()) as StartedRun;
  }

  get(id: string, options?: CallOptions): Promise<Run> {
    return this.#client.call('getRun', { params: { id } }, options);
  }

  /** Runs, newest first, over all pages. */
  list(filter: CallInput<'listRuns'>['params'] = {}, options?: CallOptions): AsyncGenerator<ItemOf<'listRuns'>, void, undefined> {
    return this.#client.items('listRuns', filter, options);
  }

  /**
   * Waits for the end of a run.
   * @param options `limitMs`: longest wait, default none.
   * @throws {RequestTimeout} when the run is still going after the limit; it goes on.
   */
  async result(id: string, options: { readonly limitMs?: number; readonly signal?: AbortSignal } = {}): Promise<RunOutcome> {
    const deadline = Date.now() + (options.limitMs ?? Infinity);
    for (;;) {
      const left = Math.max(0, deadline - Date.now()) / 1000;
      const outcome = await this.#client.call('getRunResult', { params: { id, waitSeconds: Math.min(POLL_SECONDS, left) } }, options.signal === undefined ? {} : { signal: options.signal });
      if (outcome.status !== 'running') return outcome;
      if (Date.now() >= deadline) throw new RequestTimeout(`the run has not ended within ${(options.limitMs ?? 0) / 1000} s; it goes on`);
    }
  }

  async signal(id: string, name: string, payload?: unknown, options?: CallOptions): Promise<void> {
    await this.#client.call('signalRun', { params: { id, name }, body: { payload } }, options);
  }

  async query(id: string, name: string, payload?: unknown, options?: CallOptions): Promise<unknown> {
    return (await this.#client.call('queryRun', { params: { id, name }, body: { payload } }, options)).answer;
  }

  async update(id: string, name: string, payload?: unknown, options?: CallOptions): Promise<unknown> {
    return (await this.#client.call('updateRun', { params: { id, name }, body: { payload } }, options)).answer;
  }

  async cancel(id: string, options?: CallOptions): Promise<void> {
    await this.#client.call('cancelRun', { params: { id } }, options);
  }

  async terminate(id: string, reason: string, options?: CallOptions): Promise<void> {
    await this.#client.call('terminateRun', { params: { id }, body: { reason } }, options);
  }
}

/** Sending signals. Repetitions are harmless: the server knows each by (source, id). */
class Signals {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One signal or a batch, committed when this returns. */
  async send(signals: object | readonly object[], options: CallOptions = {}): Promise<SignalReceipt> {
    return this.#post('/v1/signals', 'application/json', JSON.stringify(signals), options.signal);
  }

  /**
   * Lines of NDJSON of any length, in requests of some thousand lines one after the other, so that order is kept, a request can be
   * repeated, and the source is read no faster than the server commits. Bad lines are reported, not thrown.
   */
  async upload(source: AsyncIterable<Uint8Array | string>, options: UploadOptions = {}): Promise<Upload> {
    let sum: Upload = { lines: 0, accepted: 0, duplicates: 0, rejected: 0, rejections: [] };
    let bytes = 0;
    for await (const group of groupsOfLines(source, { lines: options.lines ?? UPLOAD_LINES, bytes: UPLOAD_BYTES })) {
      const receipt = await this.#post('/v1/signals', 'application/x-ndjson', group.text, options.signal);
      if (!('accepted' in receipt)) throw new TypeError('the server answered no receipt');
      const before = sum.lines;
      sum = {
        lines: before + group.lines,
        accepted: sum.accepted + receipt.accepted,
        duplicates: sum.duplicates + receipt.duplicates,
        rejected: sum.rejected + receipt.rejectedCount,
        rejections: [...sum.rejections, ...receipt.rejected.map(({ line, errors }) => ({ line: before + line, errors }))].slice(0, REJECTION_LIMIT),
      };
      bytes += group.bytes;
      options.onProgress?.({ ...sum, bytes });
    }
    return sum;
  }

  async #post(path: string, type: string, body: string, signal: AbortSignal | undefined): Promise<SignalReceipt> {
    const response = await this.#transport.send({ method: 'POST', path, headers: { 'content-type': type }, body, repeatable: true, ...(signal === undefined ? {} : { signal }) });
    return (await response.json()) as SignalReceipt;
  }
}

function isPage<Item>(value: unknown): value is { items: Item[]; nextCursor: string | null } {
  return isRecord(value) && Array.isArray(value['items']);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
