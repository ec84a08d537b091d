import { z } from 'zod';
import { defineOperation } from '../../../../../schemas/operations/operation.ts';

export const errandInput = z.object({ number: z.int(), seconds: z.number().min(0).max(600).describe('How long it waits to be told.') });
export type ErrandInput = z.output<typeof errandInput>;

/** A run that waits for somebody: started, read, watched, told and ended by the users of the load test. */
export default defineOperation({
  name: 'load-errand',
  summary: 'Waits until it is told to go',
  input: errandInput,
  result: z.object({ told: z.boolean() }),
  signals: { go: { description: 'Lets it end.', payload: z.object({ by: z.string() }) } },
  timeouts: { execution: '15 minutes' },
});
