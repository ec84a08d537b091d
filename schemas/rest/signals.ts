import { z } from 'zod';

/** A signal with what HAL9 knows of it. */
export const signalView = z.object({
  /** HAL9's id, derived from (organisation, source, id). */
  id: z.guid(),
  /** The CloudEvent as received, with the time of receipt where it had none. */
  signal: z.record(z.string(), z.unknown()),
  receivedAt: z.iso.datetime(),
  lane: z.int(),
  chunk: z.int(),
  /** The cascade that took it; null while it waits. */
  batch: z.uuid().nullable(),
  /** `pending` until its cascade has committed; `failed` when that ended without a decision (see the dead letters). */
  state: z.enum(['pending', 'decided', 'failed']),
  decidedAt: z.iso.datetime().nullable(),
});

/** A signal, or an emission of a neuron, that could not be worked off. */
export const deadLetterView = z.object({
  id: z.guid(),
  batch: z.uuid(),
  layer: z.string(),
  /** The signal's id, or that of the emission. */
  ref: z.guid(),
  neuron: z.uuid().nullable(),
  neuronVersion: z.int().nullable(),
  /** A failure type, e.g. `PoisonSignal`. */
  failure: z.string(),
  cause: z.string(),
  createdAt: z.iso.datetime(),
  replayedAt: z.iso.datetime().nullable(),
});

export const signalParams = z.object({ id: z.guid() });

/** Filters of the list; `from` and `to` bound the event time (inclusive, exclusive). */
export const signalFilter = z.object({
  type: z.string().min(1).max(256).optional(),
  source: z.string().min(1).max(512).optional(),
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
});

export const deadLetterFilter = z.object({ replayed: z.enum(['true', 'false']).optional() });

/** With `wait=true` a single signal is answered by its decision; `timeoutMs` bounds the wait. */
export const sendQuery = z.object({
  wait: z.enum(['true', 'false']).default('false'),
  timeoutMs: z.coerce.number().int().min(100).max(60_000).default(10_000),
});
