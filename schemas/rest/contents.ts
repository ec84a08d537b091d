import { z } from 'zod';

/** Most bytes of one content, in the clear: 100 MB. */
export const CONTENT_BYTES = 100_000_000;

export const contentParams = z.object({ id: z.uuid() });

export const contentView = z
  .object({
    id: z.uuid(),
    mediaType: z.string(),
    bytes: z.int().describe('In the clear.'),
    root: z.string().describe('Identifier on IPFS (CID) of the block that links to the sealed blocks.'),
    blocks: z.int(),
    about: z.boolean().describe('Whether it is about somebody, whose key seals it.'),
    pins: z.array(z.object({ provider: z.string().describe('Name of the connection; `(embedded)`: HAL9 itself.'), state: z.enum(['pinned', 'failed']), failure: z.string().nullable() })).describe('As the providers said last.'),
    writtenBy: z.string(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Content' });
