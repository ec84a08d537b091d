import { z } from 'zod';

/** A Temporal payload in protobuf's JSON form: bytes as base64. */
const payload = z.object({ metadata: z.record(z.string().max(200), z.base64()).default({}), data: z.base64().default('') });

/** What the Temporal UI sends to a codec endpoint and expects back. */
export const codecBody = z.object({ payloads: z.array(payload).max(10_000) }).meta({ id: 'CodecPayloads' });
export const codecParams = z.object({ namespace: z.string().min(1).max(200).describe('Temporal namespace.'), direction: z.enum(['decode', 'encode']) });

export type JsonPayload = z.output<typeof payload>;
