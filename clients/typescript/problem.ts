import type { components } from './schema.ts';

/** Body of a failure answer, RFC 9457. */
export type Problem = components['schemas']['Problem'];

/** The API answered with a failure. `type` is stable and says which; `remedy` says what to do now. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** Type of the failure, e.g. `RunClosed`; `GET /problems/{type}` explains it. */
  readonly type: string;
  readonly status: number;
  readonly title: string;
  readonly remedy: string;
  /** Whether the same request may succeed later without a change. */
  readonly retryable: boolean;
  /** Offending fields, by JSON pointer. */
  readonly errors: Problem['errors'];
  /** To be named when asking for help; it is in the server's log. */
  readonly requestId: string;
  /** What `Retry-After` said, seconds. */
  readonly retryAfterSeconds: number | undefined;

  constructor(problem: Problem, retryAfterSeconds: number | undefined) {
    super(problem.detail === '' ? problem.title : problem.detail);
    this.type = problem.type.slice(problem.type.lastIndexOf('/') + 1);
    this.status = problem.status;
    this.title = problem.title;
    this.remedy = problem.remedy;
    this.retryable = problem.retryable;
    this.errors = problem.errors;
    this.requestId = problem.instance;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** No answer came: the address is wrong, nobody listens, or the connection broke. Whether the server has acted is unknown. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
}

/** The answer did not begin within `timeoutMs`. Whether the server has acted is unknown. */
export class RequestTimeout extends Error {
  override readonly name = 'RequestTimeout';
}

/**
 * The failure an answer stands for. Answers that are no problem+json (of a proxy in between) become one of type `Unexpected`.
 */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text();
  const problem = parseProblem(text);
  return new ApiError(
    problem ?? {
      type: '/problems/Unexpected',
      title: `HTTP ${response.status}`,
      status: response.status,
      detail: text.slice(0, 500),
      instance: response.headers.get('x-request-id') ?? '',
      remedy: 'What answered is not HAL9, or a proxy before it; check the address.',
      retryable: response.status >= 502,
      errors: [],
    },
    retryAfter(response),
  );
}

/** Seconds of `Retry-After` (RFC 9110, 10.2.3): a number or a date. */
export function retryAfter(response: Response): number | undefined {
  const header = response.headers.get('retry-after');
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

function parseProblem(text: string): Problem | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // a page of a proxy
  }
  return isProblem(value) ? { ...value, detail: value.detail ?? '', remedy: value.remedy ?? '', errors: value.errors ?? [] } : undefined;
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string' && 'status' in value && typeof value.status === 'number' && 'title' in value && typeof value.title === 'string';
}
