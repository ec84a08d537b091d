import { z } from 'zod';

/**
 * `requested`: nothing happened yet; `blocked`: something stands in the way, see the reasons; `waiting`: for people to agree;
 * `erasing`; `complete`: looked for again and not found, but for what is kept; `denied`: people did not agree.
 */
export const ERASURE_STATES = ['requested', 'blocked', 'waiting', 'erasing', 'complete', 'denied'] as const;
export type ErasureState = (typeof ERASURE_STATES)[number];

/** A place where the person's identity stays, and what allows it. */
export const keptValue = z.object({ source: z.string(), table: z.string(), column: z.string(), rows: z.int(), why: z.string() });
export type KeptValue = z.infer<typeof keptValue>;

/** What was done to the rows of one table. */
export const erasedTable = z.object({
  source: z.string(),
  table: z.string(),
  method: z.enum(['mask', 'delete', 'none']).describe('`none`: the rows hold nothing personal, or are kept; see `why`.'),
  why: z.string(),
  rows: z.int().describe('Rows of the person.'),
  shared: z.int().describe('Rows that stay because rows of others point at them too.'),
});
