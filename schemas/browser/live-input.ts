import { z } from 'zod';

const place = z.number().min(0).max(10_000);

const button = z.enum(['left', 'right', 'middle']).default('left');
const key = z.string().min(1).max(40).describe('As `KeyboardEvent.key` says.');

/** What a person does to a page they look at; places in CSS pixels of the page's window. */
export const liveInputSchema = z
  .discriminatedUnion('do', [
    z.strictObject({ do: z.literal('move'), x: place, y: place }),
    z.strictObject({ do: z.literal('down'), x: place, y: place, button }),
    z.strictObject({ do: z.literal('up'), x: place, y: place, button }),
    z.strictObject({ do: z.literal('wheel'), x: place, y: place, dx: z.number().min(-10_000).max(10_000), dy: z.number().min(-10_000).max(10_000) }),
    z.strictObject({ do: z.literal('key-down'), key }),
    z.strictObject({ do: z.literal('key-up'), key }),
    z.strictObject({ do: z.literal('text'), text: z.string().max(10_000).describe('All at once, e.g. pasted.') }),
  ])
  .meta({ id: 'BrowserLiveInput' });
export type LiveInput = z.output<typeof liveInputSchema>;

export const liveInputsSchema = z.array(liveInputSchema).min(1).max(200);
