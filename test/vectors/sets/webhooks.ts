import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { StandardWebhook } from '../../../platform/webhooks/standard-webhooks.ts';
import { HalError } from '../../../schemas/errors.ts';
import { outcomeOf, type SetOutcome } from '../vector-set.ts';

const vectors = z.array(
  z.object({
    name: z.string(),
    op: z.enum(['sign', 'verify']),
    secret: z.string().nullable(),
    id: z.string().nullable(),
    timestamp: z.string().nullable(),
    payload: z.string(),
    signature: z.string().nullable(),
    now: z.number(),
    toleranceSeconds: z.number().optional(),
    enforceTimestamp: z.boolean().optional(),
    valid: z.boolean(),
  }),
);
type Vector = z.output<typeof vectors>[number];

/** Signatures of Standard Webhooks. */
export async function webhooks(folder: string): Promise<SetOutcome> {
  const file = join(folder, 'vectors.json');
  if (!existsSync(file)) return outcomeOf([]);
  const list = vectors.parse(JSON.parse(await readFile(file, 'utf8')));
  return outcomeOf(list.map((vector) => ({ name: `${vector.op}: ${vector.name}`, expected: vector.valid, accepted: accepts(vector) })));
}

function accepts(vector: Vector): boolean {
  try {
    const webhook = new StandardWebhook(vector.secret ?? '');
    if (vector.op === 'sign') return webhook.sign(vector.id ?? '', vector.timestamp ?? '', vector.payload) === vector.signature;
    const headers = { 'webhook-id': vector.id ?? undefined, 'webhook-timestamp': vector.timestamp ?? undefined, 'webhook-signature': vector.signature ?? undefined };
    const { now, toleranceSeconds, enforceTimestamp } = vector;
    return webhook.verify(vector.payload, headers, { now, ...(toleranceSeconds === undefined ? {} : { toleranceSeconds }), ...(enforceTimestamp === undefined ? {} : { enforceTimestamp }) }).valid;
  } catch (error) {
    // Refusals to sign, and of a secret that is none.
    if (error instanceof HalError && error.type === 'InvalidInput') return false;
    throw error;
  }
}
