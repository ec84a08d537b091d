import { HttpMethod, KubeConfig, KubernetesObjectApi, Watch } from '@kubernetes/client-node';
import { z } from 'zod';
import type { KubernetesObject } from './objects.ts';

/** Who writes, in `managedFields`. */
const FIELD_MANAGER = 'hal9-operator';
/** Longest wait for an answer, milliseconds. */
const REQUEST_MS = 30_000;

/** An answer of the API server other than 2xx. */
export class KubernetesError extends Error {
  override readonly name = 'KubernetesError';
  /** HTTP status. */
  readonly status: number;

  constructor(method: string, path: string, status: number, message: string) {
    super(`${method} ${path}: ${status} ${message}`);
    this.status = status;
  }
}

const answerSchema = z.looseObject({ message: z.string().optional() });
const eventSchema = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string().optional() }).optional(), code: z.number().optional(), message: z.string().optional() });

export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: KubernetesObject }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

/**
 * The API of one cluster by the client library: its configuration (in the pod, or KUBECONFIG), authentication, TLS and watches. Objects stay
 * plain JSON: the library's own reading into classes drops fields it does not know.
 */
export class Kubernetes {
  readonly #requests: Requests;
  readonly #watch: Watch;

  private constructor(config: KubeConfig) {
    this.#requests = config.makeApiClient(Requests);
    this.#watch = new Watch(config);
  }

  /** The cluster this process runs in, or that KUBECONFIG names. */
  static fromEnvironment(): Kubernetes {
    const config = new KubeConfig();
    config.loadFromDefault();
    return new Kubernetes(config);
  }

  get<Answer = KubernetesObject>(path: string, query: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.#send<Answer>(HttpMethod.GET, path, query);
  }

  /** @returns undefined for what is not there. */
  async find<Answer = KubernetesObject>(path: string): Promise<Answer | undefined> {
    return absentOr(this.get<Answer>(path));
  }

  create<Answer = KubernetesObject>(path: string, body: object): Promise<Answer> {
    return this.#send<Answer>(HttpMethod.POST, path, { fieldManager: FIELD_MANAGER }, body, 'application/json');
  }

  replace<Answer = KubernetesObject>(path: string, body: object): Promise<Answer> {
    return this.#send<Answer>(HttpMethod.PUT, path, { fieldManager: FIELD_MANAGER }, body, 'application/json');
  }

  /** JSON merge patch, RFC 7396; a `resourceVersion` in its metadata makes it fail with 409 when the object changed meanwhile. */
  merge<Answer = KubernetesObject>(path: string, patch: object): Promise<Answer> {
    return this.#send<Answer>(HttpMethod.PATCH, path, { fieldManager: FIELD_MANAGER }, patch, 'application/merge-patch+json');
  }

  /** Server-side apply: makes or mends the fields named, and takes them from whoever else set them. */
  apply(path: string, object: object): Promise<KubernetesObject> {
    return this.#send<KubernetesObject>(HttpMethod.PATCH, path, { fieldManager: FIELD_MANAGER, force: 'true' }, object, 'application/apply-patch+yaml');
  }

  /** What is gone already is fine. */
  async remove(path: string, propagation: 'Foreground' | 'Background' = 'Background'): Promise<void> {
    await absentOr(this.#send(HttpMethod.DELETE, path, { propagationPolicy: propagation }));
  }

  /**
   * Follows changes from a version on, until the server ends the stream or `signal` aborts.
   * @throws {KubernetesError} 410 when the version is too old, and whatever else ends the stream.
   */
  async follow(path: string, query: Readonly<Record<string, string>>, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
    const request = await this.#watch.watch(
      path,
      { ...query, allowWatchBookmarks: 'true' },
      (type, object: unknown) => {
        if (type === 'ERROR') {
          const { code = 500, message = 'the watch failed' } = eventSchema.parse(object);
          reject(new KubernetesError('WATCH', path, code, message));
        } else if (type === 'BOOKMARK') {
          onEvent({ type, resourceVersion: eventSchema.parse(object).metadata?.resourceVersion ?? '' });
        } else if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') {
          onEvent({ type, object: object as KubernetesObject });
        }
      },
      (error: unknown) => {
        // Half a minute without a change ends a stream too, by the library's own clock.
        if (error === null || error === undefined || isNamed(error, 'TimeoutError')) resolve();
        else if (hasStatus(error)) reject(new KubernetesError('WATCH', path, error.statusCode, 'refused'));
        else reject(error instanceof Error ? error : new Error('the watch failed', { cause: error }));
      },
    );
    const stop = (): void => {
      request.abort();
      resolve();
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      await ended;
    } finally {
      signal.removeEventListener('abort', stop);
      request.abort();
    }
  }

  async #send<Answer>(method: HttpMethod, path: string, query: Readonly<Record<string, string>>, body?: object, contentType?: string): Promise<Answer> {
    const { status, text } = await this.#requests.send(method, path, query, body, contentType);
    if (status >= 200 && status < 300) return JSON.parse(text) as Answer;
    throw new KubernetesError(method, path, status, messageOf(text));
  }
}

/** Requests with the library's configuration, which it gives to its own clients only. */
class Requests extends KubernetesObjectApi {
  async send(method: HttpMethod, path: string, query: Readonly<Record<string, string>>, body?: object, contentType?: string): Promise<{ status: number; text: string }> {
    const request = this.configuration.baseServer.makeRequestContext(path, method);
    request.setHeaderParam('Accept', 'application/json');
    for (const [name, value] of Object.entries(query)) request.setQueryParam(name, value);
    if (body !== undefined && contentType !== undefined) {
      request.setHeaderParam('Content-Type', contentType);
      request.setBody(JSON.stringify(body));
    }
    request.setSignal(AbortSignal.timeout(REQUEST_MS));
    await this.configuration.authMethods.default?.applySecurityAuthentication(request);
    const response = await this.configuration.httpApi.send(request).toPromise();
    return { status: response.httpStatusCode, text: await response.body.text() };
  }
}

async function absentOr<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof KubernetesError && error.status === 404) return undefined;
    throw error;
  }
}

function messageOf(text: string): string {
  try {
    return answerSchema.parse(JSON.parse(text)).message ?? text.slice(0, 500);
  } catch {
    return text.slice(0, 500); // a proxy in between answers what it likes
  }
}

function isNamed(error: unknown, name: string): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === name;
}

function hasStatus(error: unknown): error is { statusCode: number } {
  return typeof error === 'object' && error !== null && 'statusCode' in error && typeof error.statusCode === 'number';
}
