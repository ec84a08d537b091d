import type { z } from 'zod';
import type { Egress } from '../connections/egress.ts';
import { explainFailure, explainStatus } from '../connections/failure.ts';
import { ProviderFailed } from './provider.ts';

/** Longest answer, bytes: a block is 2 MiB at most. */
const ANSWER_LIMIT = 2 * 1024 * 1024 + 65_536;
/** Time of one call, milliseconds. Pinning waits until every block is there. */
const CALL_MS = 60_000;

export interface ProviderAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
}

type Asked = Pick<RequestInit, 'method' | 'headers' | 'body'>;

/** One call of a provider. @param attempts more than one for calls that may be repeated. @throws {ProviderFailed} in words without addresses. */
export async function exchange(egress: Pick<Egress, 'limited'>, address: string, asked: Asked, signal: AbortSignal, attempts = 1): Promise<ProviderAnswer> {
  for (let attempt = 1; ; attempt += 1) try {
    const response = await egress.limited(ANSWER_LIMIT)(address, { ...asked, signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]) });
    return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
  } catch (error) {
    signal.throwIfAborted();
    const { message, retryable } = explainFailure(error);
    if (attempt >= attempts || !retryable) throw new ProviderFailed(message, { cause: error });
  }
}

/** Of an answer that says it went well. @throws {ProviderFailed} */
export function bytesOf({ status, headers, bytes }: ProviderAnswer): Buffer {
  if (status < 200 || status > 299) throw new ProviderFailed(explainStatus(status, new Headers([...headers])).message);
  return bytes;
}

/** The same, as JSON of this shape. @throws {ProviderFailed} */
export function valueOf<Schema extends z.ZodType>(schema: Schema, answer: ProviderAnswer): z.output<Schema> {
  const bytes = bytesOf(answer);
  try {
    return schema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    throw new ProviderFailed('the answer cannot be read', { cause: error });
  }
}
