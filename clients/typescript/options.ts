/** How to reach an installation of HAL9, and how patient to be. */
export interface ClientOptions {
  /** Address of the API, e.g. `https://hal9.example.org`. */
  readonly url: string;
  /** API key or service token; a function is asked before each attempt, for tokens that expire. Default: none, for public routes. */
  readonly credential?: string | (() => string | Promise<string>);
  /** Time one attempt may take until its answer begins, milliseconds. Default 90,000: a long poll takes up to 75 s. */
  readonly timeoutMs?: number;
  /** Attempts after the first of a request that is safe to repeat. Default 4. */
  readonly retries?: number;
  /** Longest wait before an attempt, milliseconds; a `Retry-After` beyond it ends the attempts. Default 30,000. */
  readonly maxBackoffMs?: number;
  /** Default: `fetch` of the platform. */
  readonly fetch?: typeof fetch;
  /** Told before each repetition, for logs. */
  readonly onRetry?: (retry: Retry) => void;
}

export interface Retry {
  /** Of the attempt that failed, from 1. */
  readonly attempt: number;
  readonly waitMs: number;
  readonly reason: string;
}
