import { z } from 'zod';

/**
 * The signal envelope: a CloudEvents 1.0 event (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
 * Unknown members are extension attributes and are kept. Limits are HAL9's own, in UTF-16 code units.
 */
export const signalSchema = z.looseObject({
  specversion: z.literal('1.0'),
  /** Unique within `source`; (org, source, id) is deduplicated for the stated window. */
  id: z.string().min(1).max(256),
  /** URI reference of the producer, e.g. `host/web-1`. The default partition key. */
  source: z.string().min(1).max(512),
  /** Reverse-DNS kind of event, e.g. `hal9.metric.cpu`. Routing matches on it. */
  type: z.string().min(1).max(256),
  /** RFC 3339; the time of receipt when missing. Windows use it. */
  time: z.iso.datetime({ offset: true }).optional(),
  subject: z.string().min(1).max(512).optional(),
  datacontenttype: z.string().max(128).optional(),
  dataschema: z.string().max(1024).optional(),
  data: z.unknown().optional(),
  data_base64: z.string().optional(),
  /** CloudEvents partitioning extension: signals with the same key keep their order. Default: `source`. */
  partitionkey: z.string().min(1).max(512).optional(),
  /** Whom it is about, as `kind:value`, e.g. `email:ada@example.net`: an erasure of that person finds it. */
  hal9subject: z.string().min(3).max(560).optional(),
  /** CloudEvents distributed-tracing extension (W3C trace context). */
  traceparent: z.string().max(64).optional(),
});

export type Signal = z.infer<typeof signalSchema>;

/** What a sender gets back with 202: durable in PostgreSQL when it arrives. */
export const receiptSchema = z.object({
  /** Signals committed by this request. */
  accepted: z.int().min(0),
  /** Signals that were already there, by (source, id). */
  duplicates: z.int().min(0),
  /** HAL9's ids of the signals, in order of the request; at most the first 1,000. Use them with `/v1/signals/{id}`. */
  ids: z.array(z.guid()),
  /** Lines (1-based; elements of a JSON batch count as lines) that were refused, with the reason; at most the first 1,000. */
  rejected: z.array(z.object({ line: z.int().min(1), errors: z.array(z.object({ path: z.string(), message: z.string() })) })),
  rejectedCount: z.int().min(0),
});
export type Receipt = z.infer<typeof receiptSchema>;
