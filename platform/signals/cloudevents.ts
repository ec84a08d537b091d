import type { IncomingHttpHeaders } from 'node:http';
import { HalError } from '../../schemas/errors.ts';

/** The forms a body of `POST /v1/signals` may have. */
export type SignalForm = 'binary' | 'structured' | 'batch' | 'lines' | 'json';

/** Media types by form; `application/json` is an object, an array, or with `ce-` headers the data of a binary event. */
const FORMS: Readonly<Record<string, SignalForm>> = {
  'application/json': 'json',
  'application/cloudevents+json': 'structured',
  'application/cloudevents-batch+json': 'batch',
  'application/x-ndjson': 'lines',
  'application/ndjson': 'lines',
  'application/jsonl': 'lines',
};

const PREFIX = 'ce-';
/** Come from the body and its Content-Type, never from a header. */
const BODY_MEMBERS = ['ce-data', 'ce-data_base64', 'ce-datacontenttype'];
const JSON_TYPE = /^application\/(?:[a-z0-9.+-]+\+)?json$/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)"?/i;

/**
 * The form of a request by the CloudEvents HTTP binding (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md).
 * @throws {HalError} UnsupportedMediaType.
 */
export function signalForm(headers: IncomingHttpHeaders): SignalForm {
  const contentType = headers['content-type'] ?? '';
  const media = mediaType(contentType);
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new HalError('UnsupportedMediaType', 'compressed bodies are not supported; send without Content-Encoding');
  const charset = CHARSET.exec(contentType)?.[1];
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) throw new HalError('UnsupportedMediaType', 'signals are UTF-8; other charsets are not supported');
  const form = FORMS[media];
  if (form !== undefined && form !== 'json') return form;
  if (headers['ce-specversion'] !== undefined) return 'binary';
  if (form !== undefined) return form;
  throw new HalError('UnsupportedMediaType', `expected one of ${Object.keys(FORMS).join(', ')}, or ce- headers beside the data`);
}

/**
 * The event of a request in binary mode: attributes from the `ce-` headers, data from the body. JSON stays JSON, text becomes a
 * string, anything else goes into `data_base64`.
 * @throws {HalError} MalformedBody when the data is not what its Content-Type says.
 */
export function binaryEvent(headers: IncomingHttpHeaders, body: Buffer): unknown {
  const event: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(PREFIX) && typeof value === 'string' && !BODY_MEMBERS.includes(name)) event[name.slice(PREFIX.length)] = headerText(value);
  }
  const contentType = headers['content-type'];
  if (contentType !== undefined) event['datacontenttype'] = contentType;
  if (body.length === 0) return event;
  const media = mediaType(contentType ?? 'application/json');
  if (JSON_TYPE.test(media)) event['data'] = parseJson(body);
  else if (media.startsWith('text/')) event['data'] = decodeUtf8(body);
  else event['data_base64'] = body.toString('base64');
  return event;
}

/** @throws {HalError} MalformedBody when the bytes are not JSON in UTF-8; its words never quote the body. */
export function parseJson(bytes: Buffer): unknown {
  const text = decodeUtf8(bytes);
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    throw new HalError('MalformedBody', 'the body is not JSON (cut off, or malformed)');
  }
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new HalError('MalformedBody', 'the body is not UTF-8', { cause: error });
  }
}

/** Header values are percent-encoded UTF-8 (section 3.1.3.2 of the binding). The JavaScript SDK sends them bare: what cannot be decoded is taken as it is. */
function headerText(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function mediaType(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase();
}
