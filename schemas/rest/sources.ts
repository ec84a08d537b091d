import { z } from 'zod';
import { sourceShapes } from '../brokers/definition.ts';

export const sourceParams = z.object({ id: z.uuid() });
export const sourceLetterParams = z.object({ id: z.uuid(), letterId: z.uuid() });

const standing = {
  id: z.uuid(),
  version: z.int().describe('Grows with every change; send it back in If-Match.'),
  state: z.enum(['waiting', 'connected', 'failed']).describe('`waiting`: no consumer has it yet, or it is switched off.'),
  lastFailure: z.string().nullable(),
  lastMessageAt: z.iso.datetime().nullable(),
  received: z.int().describe('Messages taken in, redelivered ones included.'),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
};

export const sourceView = z.discriminatedUnion('kind', [z.object({ ...sourceShapes.amqp, ...standing }), z.object({ ...sourceShapes.kafka, ...standing })]).meta({ id: 'Source' });

export const sourceLetterView = z
  .object({ id: z.uuid(), cause: z.string(), bytes: z.int().describe('Size of the body.'), createdAt: z.iso.datetime(), replayedAt: z.iso.datetime().nullable() })
  .meta({ id: 'SourceDeadLetter' });
