import { z } from 'zod';

/** Where a part of the signal is found in a message. */
const selector = z
  .string()
  .max(512)
  .regex(/^(header:.{1,256}|data:(\/[^/]*)+|route|message-id|key)$/, 'use `header:NAME`, `data:/JSON/POINTER`, `route`, `message-id` or `key`');

const mapping = z
  .strictObject({
    type: z.string().min(1).max(256).default('message.received').describe('Type of the signals.'),
    typeFrom: selector.optional().describe('Where the type is found; `type` when it is not. `route` is the routing key or the topic.'),
    idFrom: selector.default('message-id').describe('Where the id is found by which a message is taken in once; the hash of the message when it is not. The `message-id` of a Kafka record is its topic, partition, offset and time.'),
    subjectFrom: selector.optional(),
    partitionKeyFrom: selector.optional().describe('Where the key is found within which order holds; the source when it is not. Default: the `key` of a Kafka record, none for AMQP.'),
  })
  .meta({ id: 'SourceMapping' })
  .prefault({})
  .describe('For messages that are no CloudEvents; those say it themselves.');

const named = {
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes'),
  description: z.string().max(2000).default(''),
  enabled: z.boolean().default(true),
};

const amqpSource = z.strictObject({
  kind: z.literal('amqp'),
  ...named,
  connection: z.string().min(1).max(128).describe('Name of a connection of kind `amqp`.'),
  queue: z.string().min(1).max(255).describe('A queue that exists. HAL9 consumes it alone, so that order holds.'),
  prefetch: z.int().min(1).max(5000).default(500).describe('Most messages that are taken in and not acknowledged.'),
  deadLetter: z
    .strictObject({ exchange: z.string().max(255).default('').describe('Empty is the default exchange.'), routingKey: z.string().max(255) })
    .meta({ id: 'DeadLetterExchange' })
    .optional()
    .describe('Where messages that are no signals are published as well, with the header `x-hal9-cause`, before they are acknowledged.'),
  mapping,
});

const topicName = z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, 'is no name of a topic');

const kafkaSource = z.strictObject({
  kind: z.literal('kafka'),
  ...named,
  connection: z.string().min(1).max(128).describe('Name of a connection of kind `kafka`.'),
  topics: z.array(topicName).min(1).max(20).describe('Topics that exist.'),
  group: z.string().min(1).max(249).optional().describe('Consumer group whose offsets are used and moved. Default: one of its own, `hal9-` and the id of the source.'),
  from: z.enum(['earliest', 'latest']).default('earliest').describe('Where a group that has no offset begins.'),
  deadLetter: z
    .strictObject({ topic: topicName })
    .meta({ id: 'DeadLetterTopic' })
    .optional()
    .describe('Where records that are no signals are sent as well, with the header `x-hal9-cause`, before their offset is committed.'),
  mapping,
});

/** By kind, for views that add to them. */
export const sourceShapes = { amqp: amqpSource.shape, kafka: kafkaSource.shape };

export const sourceDraftSchema = z.discriminatedUnion('kind', [amqpSource, kafkaSource]);

export type AmqpSourceDraft = z.infer<typeof amqpSource>;
export type KafkaSourceDraft = z.infer<typeof kafkaSource>;
export type SourceDraft = z.infer<typeof sourceDraftSchema>;
export type SourceKind = SourceDraft['kind'];
