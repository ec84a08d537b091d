import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientOptions } from './options.ts';
import { ConnectionError, RequestTimeout, errorOf, retryAfter } from './problem.ts';

const TIMEOUT_MS = 90_000;
const RETRIES = 4;
const MAX_BACKOFF_MS = 30_000;
const FIRST_BACKOFF_MS = 250;
/** Methods that may be repeated whatever happened to the first attempt (RFC 9110, 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']);

export interface TransportRequest {
  readonly method: string;
  /** Path with query, e.g. `/v1/runs?limit=1`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  /** Whether a POST may be repeated although the first attempt may have been carried out. Default: if it has an `Idempotency-Key`. */
  readonly repeatable?: boolean;
  /** Default: the client's. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Sends requests with credential, timeout and repetitions; every answer that is not a success is thrown. */
export class Transport {
  readonly #options: ClientOptions;
  readonly #base: string;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#base = options.url.replace(/\/+$/, '');
  }

  /**
   * @returns the answer, 2xx or 3xx, its body unread.
   * @throws {ApiError} what the API said; {ConnectionError} no answer; {RequestTimeout} none in time; the signal's reason.
   */
  async send(request: TransportRequest): Promise<Response> {
    const repeatable = request.repeatable ?? (IDEMPOTENT.has(request.method) || Object.keys(request.headers ?? {}).some((name) => name.toLowerCase() === 'idempotency-key'));
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#attempt(request);
      if (outcome instanceof Response && outcome.ok) return outcome;
      const waitMs = outcome instanceof Response ? this.#waitAfter(outcome, attempt, repeatable) : repeatable ? backoff(attempt) : undefined;
      if (waitMs === undefined || attempt > (this.#options.retries ?? RETRIES) || request.body instanceof ReadableStream) throw outcome instanceof Response ? await errorOf(outcome) : outcome;
      this.#options.onRetry?.({ attempt, waitMs, reason: outcome instanceof Response ? `HTTP ${outcome.status}` : outcome.message });
      if (outcome instanceof Response) await outcome.body?.cancel();
      await sleep(waitMs, undefined, request.signal === undefined ? {} : { signal: request.signal }).catch((error: unknown) => {
        request.signal?.throwIfAborted();
        throw error;
      });
    }
  }

  async #attempt(request: TransportRequest): Promise<Response | ConnectionError | RequestTimeout> {
    const { credential, fetch: send = fetch } = this.#options;
    const token = typeof credential === 'function' ? await credential() : credential;
    const timeoutMs = request.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS;
    // Only until the answer begins: a stream may last as long as it likes.
    const timeout = new AbortController();
    const timer = timeoutMs === Infinity ? undefined : setTimeout(() => timeout.abort(), timeoutMs);
    try {
      return await send(`${this.#base}${request.path}`, {
        method: request.method,
        headers: { accept: 'application/json', ...(token === undefined || token === '' ? {} : { authorization: `Bearer ${token}` }), ...request.headers },
        ...(request.body === undefined ? {} : { body: request.body, ...(request.body instanceof ReadableStream ? { duplex: 'half' } : {}) }),
        redirect: 'manual',
        signal: request.signal === undefined ? timeout.signal : AbortSignal.any([timeout.signal, request.signal]),
      });
    } catch (error) {
      request.signal?.throwIfAborted();
      if (timeout.signal.aborted) return new RequestTimeout(`${request.method} ${request.path} was not answered within ${timeoutMs / 1000} s`, { cause: error });
      return new ConnectionError(`${this.#base} cannot be reached: ${causeOf(error)}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** 429 and 503 refuse before anything is done, so that any request may be sent again; 502 and 504 may come after. */
  #waitAfter(response: Response, attempt: number, repeatable: boolean): number | undefined {
    const refused = response.status === 429 || response.status === 503;
    if (!refused && !(repeatable && (response.status === 502 || response.status === 504))) return undefined;
    const seconds = retryAfter(response);
    if (seconds === undefined) return backoff(attempt);
    return seconds * 1000 <= (this.#options.maxBackoffMs ?? MAX_BACKOFF_MS) ? seconds * 1000 : undefined;
  }
}

/** Doubling, with full jitter, so that clients that failed together do not come back together. */
function backoff(attempt: number): number {
  return Math.random() * FIRST_BACKOFF_MS * 2 ** attempt;
}

/** `fetch` hides the reason in `cause`. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? ('code' in cause && typeof cause.code === 'string' ? cause.code : cause.message) : String(cause);
}
