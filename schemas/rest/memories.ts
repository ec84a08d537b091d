import { z } from 'zod';
import { memoryKind, memorySubject, memoryTopic } from '../memories/definition.ts';
import { pageQuery } from './page.ts';

/** Longest text to search for, characters. */
const MOST_TEXT = 500;

/** What to recall; left out, all. A body, so that subjects are in no address and no log. */
export const memoryQuery = z.strictObject({
  kind: memoryKind.optional(),
  topic: memoryTopic.optional(),
  subject: memorySubject.optional(),
  text: z.string().min(1).max(MOST_TEXT).optional().describe('Words that all occur in the content, whole and in any case. Memories that are about somebody are searched only where `subject` says about whom.'),
  limit: z.int().min(1).max(500).default(50).describe('Most items of the page.'),
  cursor: pageQuery.shape.cursor,
});

export const memoryParams = z.object({ id: z.uuid() });

export const memoryView = z
  .object({
    id: z.uuid(),
    kind: memoryKind,
    topic: z.string(),
    about: z.boolean().describe('Whether it is about somebody, whose key seals it.'),
    content: z.record(z.string(), z.unknown()),
    weight: z.number().nullable(),
    digest: z.string().describe('SHA-256 of the sealed content: what a stream with the source `memory` anchors.'),
    writtenBy: z.string(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Memory' });

export const sealedMemoryView = memoryView.extend({ sealed: z.string().describe('The sealed content, base64: its SHA-256 is `digest`.') }).meta({ id: 'SealedMemory' });

export const recalledMemories = z
  .object({ items: z.array(memoryView), nextCursor: z.string().nullable(), weight: z.number().describe('Sum of the weights of all that was asked for, not of this page alone.') })
  .meta({ id: 'RecalledMemories' });
