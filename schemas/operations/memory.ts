import { z } from 'zod';
import { memoryDraft } from '../memories/definition.ts';
import { defineOperation, parseSubject } from './operation.ts';

export const memoryInputSchema = memoryDraft;
export type MemoryInput = z.infer<typeof memoryInputSchema>;

export const memoryResultSchema = z.object({ memory: z.uuid(), digest: z.string() });
export type MemoryResult = z.infer<typeof memoryResultSchema>;

export default defineOperation({
  name: 'memory',
  summary: 'Remember what was learned',
  description: 'What the decision of a neuron starts so that neurons of every layer can recall it: a fact, an outcome or a weight of evidence. Once for each run. `POST /v1/memories` does the same at once.',
  input: memoryInputSchema,
  result: memoryResultSchema,
  permission: 'memories:write',
  subject: ({ subject }) => (subject === undefined ? undefined : parseSubject(subject)),
  timeouts: { execution: '1 hour' },
  effect: 'idempotent',
});
