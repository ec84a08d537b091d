import { z } from 'zod';
import { sourceDraftSchema } from '../brokers/definition.ts';

export const sourceParams = z.object({ id: z.uuid() });
export const sourceLetterParams = z.object({ id: z.uuid(), letterId: z.uuid() });

export const sourceView = z
  .object({
    ...sourceDraftSchema.shape,
    id: z.uuid(),
    version: z.int().describe('Grows with every change; send it back in If-Match.'),
    state: z.enum(['waiting', 'connected', 'failed']).describe('`waiting`: no consumer has it yet, or it is switched off.'),
    lastFailure: z.string().nullable(),
    lastMessageAt: z.iso.datetime().nullable(),
    received: z.int().describe('Messages taken in, redelivered ones included.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Source' });

export const sourceLetterView = z
  .object({ id: z.uuid(), cause: z.string(), bytes: z.int().describe('Size of the body.'), createdAt: z.iso.datetime(), replayedAt: z.iso.datetime().nullable() })
  .meta({ id: 'SourceDeadLetter' });
