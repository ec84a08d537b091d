import { v7 } from 'uuid';
import type { OpenBatchStore } from '../../database/batches-open.ts';
import { LANES_CHANNEL } from '../../database/cascade-commit.ts';
import { CHUNKS_CHANNEL } from '../../database/signals.ts';
import type { BatchStarter } from './batch-starter.ts';
import type { Drain } from './drains.ts';

/** Lanes opened by one transaction. */
const LANES_AT_ONCE = 64;
/** Age after which a chunk whose caller waited for it is taken like any other, seconds. */
const INTERACTIVE_GRACE_S = 30;
/** Lets single signals that arrive together form one batch; far below what a cascade takes. */
const COALESCE_MS = 5;
/** The same while signals stream in: their lanes rest, and each commit of them would have it look again. */
const STREAMING_MS = 50;
/** They stream in when a batch was opened within this time, the longest that a lane rests, ms. */
const STREAM_MS = 1000;
/** Least time between two clock batches of an organisation, seconds. */
const CLOCK_REST_S = 1;

export interface BatchOpenerOptions {
  readonly batches: OpenBatchStore;
  readonly starter: BatchStarter;
  /** Most signals of a batch (`HAL9_BATCH_SIGNALS`). */
  readonly batchSignals: number;
  /** Least time from one batch of a lane to its next, milliseconds (`HAL9_LANE_REST_MS`). */
  readonly restMs: number;
}

/** Opens a batch in every free lane where chunks wait, and hands it to the starter. */
export function createBatchOpener({ batches, starter, batchSignals, restMs }: BatchOpenerOptions): Drain {
  let openedAt = 0;
  let found = 0;
  return {
    name: 'batches',
    channels: [CHUNKS_CHANNEL, LANES_CHANNEL],
    coalesceMs: () => (found === 0 && performance.now() - openedAt < STREAM_MS ? STREAMING_MS : COALESCE_MS),
    async run() {
      if (starter.busy) return false;
      const opened = await batches.open({ batchSignals, batchIds: freshIds(), interactiveGraceSeconds: INTERACTIVE_GRACE_S, restMs });
      found = opened.length;
      if (found > 0) openedAt = performance.now();
      starter.add(opened);
      return opened.length === LANES_AT_ONCE;
    },
  };
}

/** Opens a batch without signals where a neuron's window is due by the clock. */
export function createClock({ batches, starter }: Pick<BatchOpenerOptions, 'batches' | 'starter'>): Drain {
  return {
    name: 'clock',
    pollMs: 250,
    async run() {
      if (starter.busy) return false;
      const opened = await batches.openClock(freshIds(), CLOCK_REST_S);
      starter.add(opened);
      return opened.length === LANES_AT_ONCE;
    },
  };
}

function freshIds(): string[] {
  return Array.from({ length: LANES_AT_ONCE }, () => v7());
}
