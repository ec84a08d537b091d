import { z } from 'zod';

/** Where a part of the signal is found in a message. */
const selector = z
  .string()
  .max(512)
  .regex(/^(header:.{1,256}|data:(\/[^/]*)+|route|message-id)$/, 'use `header:NAME`, `data:/JSON/POINTER`, `route` or `message-id`');

export const sourceDraftSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes'),
  description: z.string().max(2000).default(''),
  enabled: z.boolean().default(true),
  connection: z.string().min(1).max(128).describe('Name of a connection of kind `amqp`.'),
  queue: z.string().min(1).max(255).describe('A queue that exists. HAL9 consumes it alone, so that order holds.'),
  prefetch: z.int().min(1).max(5000).default(500).describe('Most messages that are taken in and not acknowledged.'),
  deadLetter: z
    .strictObject({ exchange: z.string().max(255).default('').describe('Empty is the default exchange.'), routingKey: z.string().max(255) })
    .meta({ id: 'DeadLetterExchange' })
    .optional()
    .describe('Where messages that are no signals are published as well, with the header `x-hal9-cause`, before they are acknowledged.'),
  mapping: z
    .strictObject({
      type: z.string().min(1).max(256).default('message.received').describe('Type of the signals.'),
      typeFrom: selector.optional().describe('Where the type is found; `type` when it is not.'),
      idFrom: selector.default('message-id').describe('Where the id is found by which a message is taken in once; the hash of the message when it is not.'),
      subjectFrom: selector.optional(),
      partitionKeyFrom: selector.optional().describe('Where the key is found within which order holds; the source when it is not.'),
    })
    .prefault({})
    .describe('For messages that are no CloudEvents; those say it themselves.'),
});

export type SourceDraft = z.infer<typeof sourceDraftSchema>;
