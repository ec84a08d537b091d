import { z } from 'zod';

/** `fact`: what is so. `outcome`: what came of something. `evidence`: what speaks for or against something, by its weight. */
export const MEMORY_KINDS = ['fact', 'outcome', 'evidence'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** Longest content, bytes of JSON in UTF-8. */
export const MEMORY_BYTES = 16_384;

export const memoryKind = z.enum(MEMORY_KINDS);
export const memoryTopic = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes').describe('What memories are recalled by, e.g. `restart`.');
/** Whom or what a memory is about. */
export const memorySubject = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,49}:.{0,499}\S$/, 'kind:value, e.g. host:web-1').describe('`kind:value`, e.g. `email:ada@example.net` or `host:web-1`. Its key seals the memory, and an erasure of it destroys that key. Kept as a keyed hash.');

/** What is to be remembered. */
export const memoryDraft = z
  .strictObject({
    kind: memoryKind.default('fact'),
    topic: memoryTopic,
    subject: memorySubject.optional(),
    content: z.record(z.string(), z.unknown()).refine((content) => Buffer.byteLength(JSON.stringify(content)) <= MEMORY_BYTES, `more than ${String(MEMORY_BYTES)} bytes of JSON`),
    weight: z.number().min(-100).max(100).optional().describe('Weight of evidence in nats: the natural logarithm of how much likelier it is if the thing is so than if it is not. Weights of independent evidence add up.'),
  })
  .meta({ id: 'MemoryDraft' });
export type MemoryDraft = z.output<typeof memoryDraft>;
