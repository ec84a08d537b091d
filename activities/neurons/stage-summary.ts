import { z } from 'zod';
import { LAYERS } from '../../schemas/names/layers.ts';

const count = z.int().min(0);

/** What a stage came to: counts only, so that histories stay small. Stored with the fence, so a retry answers the same. */
export const stageSummarySchema = z.object({
  /** A layer, or what follows from the answers its external neurons got. */
  stage: z.templateLiteral([z.enum(LAYERS), z.enum(['', '-answers'])]),
  /** Signals or emissions it read. */
  signals: count,
  evaluations: count,
  emissions: count,
  decisions: count,
  /** Decisions within the cooldown of an earlier one, which gained their causes. */
  joined: count,
  deadLetters: count,
  loopsSkipped: count,
  /** Calls that wait for an activity of their own. */
  external: count,
  /** Latest event time of the batch, ms; windows due by then were closed. */
  watermarkMs: z.number(),
  /** The next layer that has work; null when there is none. */
  next: z.enum(LAYERS).nullable(),
  /** Whether the batch is decided. */
  closed: z.boolean(),
});

export type StageSummary = z.infer<typeof stageSummarySchema>;
export type Stage = StageSummary['stage'];
