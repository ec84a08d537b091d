import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Fate } from './fate.ts';

export interface RolloutClientOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly signal: AbortSignal;
}

const ATTEMPT_MS = 30_000;
const BACKOFF_MS = 300;
const startedSchema = z.object({ runId: z.string() });
const resultSchema = z.object({ status: z.string(), result: z.object({ outcome: z.string() }).optional() });

/** Asks again until it is answered: whom it asks is killed now and then. A start carries a key, so that it starts one. */
export class RolloutClient {
  readonly #options: RolloutClientOptions;
  #starts = 0;

  constructor(options: RolloutClientOptions) {
    this.#options = options;
  }

  async connect(name: string, settings: object): Promise<void> {
    await this.#call('POST', '/v1/connections', { name, settings });
  }

  async start(namespace: string, { image, strategy }: Fate): Promise<string> {
    this.#starts += 1;
    const input = { services: [{ name: 'web', namespace, service: 'web', images: { main: image } }], waves: [{ name: 'all', clusters: ['cluster'] }], strategy, progressDeadlineSeconds: 15 };
    const { body } = await this.#call('POST', '/v1/workflows/rollout/runs', { input }, `chaos-${String(this.#starts)}`);
    return startedSchema.parse(body).runId;
  }

  /** A run that has ended already refuses it, which is as well. */
  async abort(runId: string): Promise<void> {
    await this.#call('POST', `/v1/runs/${runId}/updates/decide`, { payload: { action: 'abort' } });
  }

  /** How the run ended; its status where it has no result. @throws {Error} when it does not end in time. */
  async outcome(runId: string, endMs: number): Promise<string> {
    const deadline = Date.now() + endMs;
    while (Date.now() < deadline) {
      const { status, body } = await this.#call('GET', `/v1/runs/${runId}/result?waitSeconds=20`);
      const read = resultSchema.safeParse(body);
      if (status < 300 && read.success && read.data.status !== 'running') return read.data.result?.outcome ?? read.data.status;
      await sleep(BACKOFF_MS, undefined, { signal: this.#options.signal });
    }
    throw new Error(`the run ${runId} does not end`);
  }

  /** @returns the answer, once it is one: 5xx and no answer are asked again. */
  async #call(method: string, path: string, body?: unknown, key?: string): Promise<{ status: number; body: unknown }> {
    const { url, apiKey, signal } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      try {
        const response = await fetch(`${url}${path}`, {
          method,
          headers: { authorization: `Bearer ${apiKey}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...(key === undefined ? {} : { 'idempotency-key': key }) },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]),
        });
        const text = await response.text();
        if (response.status < 500) {
          if (!response.ok && response.status !== 409 && response.status !== 404) throw new Refused(`${method} ${path} answered ${response.status}: ${text}`);
          const answer: unknown = JSON.parse(text);
          return { status: response.status, body: answer };
        }
      } catch (error) {
        // No answer, or half of one: nobody knows, so the same again.
        if (error instanceof Refused) throw error;
      }
      await sleep(BACKOFF_MS, undefined, { signal });
    }
  }
}

/** Asked again it would be refused again. */
class Refused extends Error {
  override readonly name = 'Refused';
}
