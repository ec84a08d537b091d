import type { BackgroundProcess } from '../process.ts';

/** Work that waits in a table and is worked off by whichever dispatcher comes first. */
export interface Drain {
  /** For logs and metrics. */
  readonly name: string;
  /** Notifications (`pg_notify`) after which there may be work. */
  readonly channels?: readonly string[];
  /** How often it looks without being notified, ms. Default 200. */
  readonly pollMs?: number;
  /** How long it waits after a notification for more to arrive, ms. Default 0. */
  readonly coalesceMs?: () => number;
  /**
   * Works off a bounded part. Several dispatchers run it at once: rows are taken with `for update skip locked` or the like.
   * @param signal aborted when the process is to end.
   * @returns whether more may wait, so that it is called again at once.
   */
  run(signal: AbortSignal): Promise<boolean>;
}

/** Builds a drain from what the process offers. */
export type DrainFactory = (context: BackgroundProcess) => Drain | Promise<Drain>;
