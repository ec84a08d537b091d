import { isIP } from 'node:net';
import { Agent, fetch } from 'undici';
import type { KubernetesSettings } from '../../schemas/rest/connections.ts';
import { AddressRefused, type Egress } from './egress.ts';

/** Longest one call may take, milliseconds: API servers end theirs after a minute. */
const CALL_MS = 30_000;
const CONNECT_MS = 5_000;

/** What the API server refused, in its own words (a `Status` object). */
export class KubernetesRefusal extends Error {
  override readonly name = 'KubernetesRefusal';
  /** HTTP status. */
  readonly status: number;
  /** Reason of the Status, e.g. `NotFound`, `AlreadyExists`, `Conflict`, `Forbidden`, `Invalid`; empty where it gave none. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export const MERGE_PATCH = 'application/merge-patch+json';

/**
 * A cluster's API over the guarded egress. Objects are plain JSON, kept as they came: what is copied (a pod template into a second Deployment) keeps
 * fields that no client of today knows. One per use; `close` it.
 */
export class KubernetesApi {
  readonly #base: string;
  readonly #token: string;
  readonly #agent: Agent;

  /** @throws {AddressRefused} when the settings name an address that may not be reached. */
  constructor(egress: Egress, settings: KubernetesSettings) {
    const url = new URL(settings.server);
    const literal = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(literal) !== 0 && !egress.permits(literal)) throw new AddressRefused('the address is private or reserved');
    this.#base = settings.server.replace(/\/+$/, '');
    this.#token = settings.token;
    this.#agent = new Agent({ connect: { lookup: egress.lookup, timeout: CONNECT_MS, ...(settings.ca === undefined ? {} : { ca: settings.ca }) }, keepAliveTimeout: 5_000 });
  }

  get<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
    return this.#call<Answer>('GET', path, undefined, undefined, signal);
  }

  /** undefined where it is not there. */
  async find<Answer>(path: string, signal?: AbortSignal): Promise<Answer | undefined> {
    try {
      return await this.get<Answer>(path, signal);
    } catch (error) {
      if (error instanceof KubernetesRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  create<Answer>(path: string, body: unknown, signal?: AbortSignal): Promise<Answer> {
    return this.#call<Answer>('POST', path, body, 'application/json', signal);
  }

  patch<Answer>(path: string, body: unknown, contentType: string, signal?: AbortSignal): Promise<Answer> {
    return this.#call<Answer>('PATCH', path, body, contentType, signal);
  }

  /** Resolves as well where there is nothing to delete. Dependents are collected in the background. */
  async remove(path: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.#call('DELETE', path, { propagationPolicy: 'Background' }, 'application/json', signal);
    } catch (error) {
      if (!(error instanceof KubernetesRefusal) || error.status !== 404) throw error;
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** @throws {KubernetesRefusal} for an answer that is no success; whatever the network says otherwise. */
  async #call<Answer>(method: string, path: string, body: unknown, contentType: string | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    const limit = AbortSignal.timeout(CALL_MS);
    const response = await fetch(`${this.#base}${path}`, {
      method,
      dispatcher: this.#agent,
      redirect: 'manual',
      headers: { accept: 'application/json', 'user-agent': 'HAL9', authorization: `Bearer ${this.#token}`, ...(contentType === undefined ? {} : { 'content-type': contentType }) },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    const text = await response.text();
    const answer: unknown = isJson(response.headers.get('content-type')) ? JSON.parse(text) : undefined;
    if (response.ok && answer !== undefined) return answer as Answer;
    throw refusal(response.status, answer);
  }
}

function isJson(contentType: string | null): boolean {
  return contentType !== null && /^application\/json\b/i.test(contentType);
}

function refusal(status: number, answer: unknown): KubernetesRefusal {
  const { message, reason } = (typeof answer === 'object' && answer !== null ? answer : {}) as { message?: unknown; reason?: unknown };
  return new KubernetesRefusal(status, typeof reason === 'string' ? reason : '', typeof message === 'string' ? message.slice(0, 2000) : `the API server answered HTTP ${status}`);
}
