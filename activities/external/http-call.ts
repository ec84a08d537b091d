import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure, explainStatus } from '../../platform/connections/failure.ts';
import type { HttpBehaviour } from '../../schemas/neurons/definition.ts';
import type { HttpSettings } from '../../schemas/rest/connections.ts';

/** Everything that is sent but the connection's headers. */
export interface HttpInput {
  readonly kind: 'http';
  readonly connection: string | null;
  readonly method: HttpBehaviour['method'];
  readonly url: string;
  readonly body: unknown;
}

export type HttpOutcome =
  /** The service answered and is well: 2xx, 3xx and 4xx but 408 and 429 are the rules' to judge. */
  | { readonly kind: 'answer'; readonly answer: { readonly status: number; readonly body: unknown } }
  | { readonly kind: 'failure'; readonly reason: string };

/** Longest answer read, bytes. */
const ANSWER_LIMIT = 1024 * 1024;

/**
 * Calls a service. Redirects are not followed; `body` of the answer is parsed when it says it is JSON, text otherwise.
 * @param key the same in every attempt: sent as Idempotency-Key.
 * @throws when `signal` aborts, and on nothing else.
 */
export async function callService(egress: Egress, settings: HttpSettings | undefined, behaviour: HttpBehaviour, input: HttpInput, key: string, signal: AbortSignal): Promise<HttpOutcome> {
  if (settings !== undefined && new URL(settings.baseUrl).origin !== new URL(input.url).origin) {
    return { kind: 'failure', reason: 'the connection belongs to another origin than the URL' };
  }
  const sendsBody = input.method !== 'GET';
  try {
    const answer = await egress.request(input.url, {
      method: input.method,
      headers: { accept: 'application/json, text/plain;q=0.5', 'idempotency-key': key, ...(sendsBody ? { 'content-type': 'application/json' } : {}), ...settings?.headers },
      ...(sendsBody ? { body: JSON.stringify(input.body) } : {}),
      signal: AbortSignal.any([signal, AbortSignal.timeout(behaviour.timeoutSeconds * 1000)]),
      limitBytes: ANSWER_LIMIT,
    });
    if (answer.status >= 500 || answer.status === 429 || answer.status === 408) return { kind: 'failure', reason: explainStatus(answer.status, answer.headers).message };
    const body = bodyOf(answer.headers.get('content-type') ?? '', answer.text);
    return body === undefined ? { kind: 'failure', reason: 'the answer says it is JSON and is not' } : { kind: 'answer', answer: { status: answer.status, body } };
  } catch (error) {
    if (signal.aborted) throw error;
    return { kind: 'failure', reason: explainFailure(error).message };
  }
}

function bodyOf(contentType: string, text: string): unknown {
  if (!/^application\/([a-z0-9.+-]+\+)?json\b/i.test(contentType)) return text;
  if (text === '') return null;
  try {
    const parsed: unknown = JSON.parse(text);
    return parsed;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
