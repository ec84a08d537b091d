import { setTimeout as sleep } from 'node:timers/promises';
import { receiptSchema } from '../../../schemas/signals/signal.ts';

export interface RetryingClientOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly signal: AbortSignal;
}

const ATTEMPT_MS = 15_000;
const FIRST_BACKOFF_MS = 50;
const LAST_BACKOFF_MS = 2000;

/** Sends as a careful client does: the same body again until the server says that it is in. */
export class RetryingClient {
  readonly #options: RetryingClientOptions;
  attempts = 0;
  answered = 0;
  /** Signals that a 202 called duplicates: they went in by an attempt whose answer was lost. */
  duplicates = 0;

  constructor(options: RetryingClientOptions) {
    this.#options = options;
  }

  /** Sends lines until they are accepted. @returns signals the answer vouches for. */
  async send(lines: readonly string[]): Promise<number> {
    const body = `${lines.join('\n')}\n`;
    for (let backoff = FIRST_BACKOFF_MS; ; backoff = Math.min(LAST_BACKOFF_MS, backoff * 2)) {
      this.#options.signal.throwIfAborted();
      this.attempts++;
      const receipt = await this.#attempt(body);
      if (receipt !== undefined) {
        this.answered++;
        this.duplicates += receipt.duplicates;
        return receipt.accepted + receipt.duplicates;
      }
      await sleep(backoff * (0.5 + Math.random()), undefined, { signal: this.#options.signal });
    }
  }

  /** Undefined when it may be tried again. @throws {Error} when the server refuses the body for good. */
  async #attempt(body: string): Promise<{ accepted: number; duplicates: number } | undefined> {
    const { url, apiKey } = this.#options;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${url}/v1/signals`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${apiKey}` },
        body,
        signal: AbortSignal.any([this.#options.signal, AbortSignal.timeout(ATTEMPT_MS)]),
      });
      text = await response.text();
    } catch {
      return undefined; // no answer, or half of one: nobody knows, so the same again
    }
    if (response.status === 202) return receiptSchema.parse(JSON.parse(text));
    if (response.status >= 500 || response.status === 429) return undefined;
    throw new Error(`refused with ${response.status}: ${text.slice(0, 300)}`);
  }
}
