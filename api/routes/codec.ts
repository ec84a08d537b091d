import type { Payload, PayloadCodec } from '@temporalio/common';
import type { Logger } from 'pino';
import type { AuditActStore } from '../../database/audit-acts.ts';
import { actOf } from '../../platform/audit/act.ts';
import { KeyError } from '../../platform/keys/key-ring.ts';
import { HalError } from '../../schemas/errors.ts';
import { codecBody, codecParams, type JsonPayload } from '../../schemas/rest/codec.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

export interface CodecRouteDependencies {
  codec: PayloadCodec;
  namespace: string;
  logger: Logger;
  /** Where it is written that somebody read what is encrypted. */
  acts: Pick<AuditActStore, 'record'>;
}

/**
 * The remote codec of the Temporal UI. It opens payloads of the caller's organisation; those of others come back as
 * they were, still encrypted.
 */
export function createCodecRoutes({ codec, namespace, logger, acts }: CodecRouteDependencies): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/codec/:namespace/:direction',
      id: 'transcodePayloads',
      tag: 'Codec',
      summary: 'Decrypts or encrypts payloads for the Temporal UI',
      description: 'Takes an API key, or the session cookie that `/ui-session` sets. Payloads of another organisation come back unchanged.',
      permission: 'codec:decode',
      access: ({ params }) => (params['direction'] === 'encode' ? { permission: 'codec:encode' } : {}),
      session: true,
      audit: 'payload.transcode',
      params: codecParams,
      body: codecBody,
      responses: { 200: { description: 'The payloads in the same order.', schema: codecBody } },
      async handler({ caller, params, body }) {
        if (params.namespace !== namespace) throw new HalError('NotFound', 'this server uses another namespace');
        logger.info({ event: `codec.${params.direction}`, keyId: caller.actor.id, orgId: caller.orgId, requestId: caller.requestId, payloads: body.payloads.length }, 'codec used');
        await acts.record(actOf(caller, 'payload.transcode', { kind: 'organisation', id: caller.orgId }, { direction: params.direction, payloads: body.payloads.length }));
        // Any workflow id of the organisation: the codec goes by its first part.
        const context = { type: 'workflow', namespace, workflowId: `${caller.orgId}/` } as const;
        const payloads = body.payloads.map(fromJson);
        if (params.direction === 'encode') return { status: 200, body: { payloads: (await codec.encode(payloads, context)).map(toJson) } };
        const opened = await Promise.all(payloads.map(async (payload) => (await ownOnly(() => codec.decode([payload], context))) ?? [payload]));
        return { status: 200, body: { payloads: opened.flat().map(toJson) } };
      },
    }),
  ];
}

/** undefined when the payload is another organisation's, or its key is not in the ring any more. */
async function ownOnly(decode: () => Promise<Payload[]>): Promise<Payload[] | undefined> {
  try {
    return await decode();
  } catch (error) {
    if (error instanceof KeyError) return undefined;
    throw error;
  }
}

function fromJson({ metadata, data }: JsonPayload): Payload {
  return { metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value, 'base64')])), data: Buffer.from(data, 'base64') };
}

function toJson({ metadata, data }: Payload): JsonPayload {
  const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString('base64');
  return { metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, text(value)])), data: text(data) };
}
