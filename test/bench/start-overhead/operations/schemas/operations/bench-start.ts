import { z } from 'zod';
import { defineOperation } from '../../../../../../schemas/operations/operation.ts';

/** Started and never worked off: no worker serves its queue, so that only the start is measured. */
export default defineOperation({
  name: 'bench-start',
  summary: 'Does nothing; measures the start',
  input: z.strictObject({ order: z.uuid(), lines: z.array(z.strictObject({ article: z.string(), amount: z.int() })) }),
  result: z.null(),
  taskQueue: 'bench-start',
  timeouts: { execution: '1 hour' },
});
