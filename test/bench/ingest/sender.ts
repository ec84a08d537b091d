import { request } from 'node:http';
import { receiptSchema, type Receipt } from '../../../schemas/signals/signal.ts';

export interface Target {
  /** Base address of the API. */
  readonly url: string;
  readonly apiKey: string;
}

/** Sends a body of lines as one stream, no faster than the server reads it. @throws {Error} unless it is answered by 202. */
export async function sendLines(target: Target, body: readonly Buffer[]): Promise<Receipt> {
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sending = request(`${target.url}/v1/signals`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${target.apiKey}` } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    sending.on('error', reject);
    write(sending, body).catch(reject);
  });
  if (status !== 202) throw new Error(`answered ${status}: ${text.slice(0, 300)}`);
  return receiptSchema.parse(JSON.parse(text));
}

async function write(sending: ReturnType<typeof request>, body: readonly Buffer[]): Promise<void> {
  for (const part of body) {
    if (!sending.write(part)) await new Promise((resolve) => sending.once('drain', resolve));
  }
  sending.end();
}

const SOURCES = 100;

/** A metric reading as the collector sends it, one line; about 190 bytes. */
export function readingLine(run: string, n: number): string {
  return JSON.stringify({
    specversion: '1.0',
    id: `${run}-${n}`,
    source: `host/web-${n % SOURCES}`,
    type: 'hal9.metric.cpu',
    time: new Date(1_767_225_600_000 + n * 10).toISOString(),
    data: { value: (n * 7919) % 100, unit: 'percent', host: `web-${n % SOURCES}`, core: n % 4 },
  });
}

/** Lines in buffers of about 64 KiB, as a client's file stream would hand them over. */
export function readingBody(run: string, from: number, to: number): Buffer[] {
  const parts: Buffer[] = [];
  let text = '';
  for (let n = from; n < to; n++) {
    text += `${readingLine(run, n)}\n`;
    if (text.length < 65_536) continue;
    parts.push(Buffer.from(text));
    text = '';
  }
  if (text !== '') parts.push(Buffer.from(text));
  return parts;
}

