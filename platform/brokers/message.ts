import { hash } from 'node:crypto';
import { BROKER_SOURCE } from '../../schemas/automations/definition.ts';
import type { SourceDraft } from '../../schemas/brokers/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import { isRecord } from '../../schemas/signals/is-signal.ts';

/** A message as a broker delivers it. */
export interface BrokerMessage {
  readonly body: Buffer;
  readonly contentType: string | undefined;
  /** The sender's id of it, if any. */
  readonly messageId: string | undefined;
  /** The key a record was sent with; none in AMQP. */
  readonly key?: string;
  /** Routing key or topic. */
  readonly route: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Application properties of the AMQP binding, where both separators are in use (section 3.1.3.1), and headers of the Kafka binding (section 3.2.3). */
const PREFIXES = ['cloudEvents:', 'cloudEvents_', 'ce_'];
const JSON_TYPE = /^application\/(?:[a-z0-9.+-]+\+)?json\b/i;

/**
 * The signal a message means: a CloudEvent in structured or binary mode
 * (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md, and kafka-protocol-binding.md beside it), else what the mapping makes of it.
 * The source is always the source's own, followed by the one the event names: a message cannot pass for somebody else's.
 * @throws {HalError} MalformedBody, InvalidInput; the words never quote the message.
 */
export function signalOfMessage(message: BrokerMessage, sourceId: string, mapping: SourceDraft['mapping']): Record<string, unknown> {
  const own = `${BROKER_SOURCE}${sourceId}`;
  const trace = { ...(message.headers['traceparent'] === undefined ? {} : { traceparent: message.headers['traceparent'] }), ...(message.key === undefined ? {} : { partitionkey: message.key }) };
  if (/^application\/cloudevents\+json\b/i.test(message.contentType ?? '')) {
    const event = jsonOf(message.body);
    if (!isRecord(event)) throw new HalError('InvalidInput', 'the event is no JSON object');
    return { ...trace, ...event, source: sourceOf(own, event['source']) };
  }
  const attributes = attributesOf(message.headers);
  if (attributes['specversion'] !== undefined) {
    return { ...trace, ...attributes, source: sourceOf(own, attributes['source']), ...(message.contentType === undefined ? {} : { datacontenttype: message.contentType }), ...dataOf(message) };
  }
  const parts = dataOf(message);
  const find = (selector: string | undefined): string | undefined => (selector === undefined ? undefined : selected(selector, message, parts['data']));
  const [subject, partitionkey] = [find(mapping.subjectFrom), find(mapping.partitionKeyFrom)];
  return {
    specversion: '1.0',
    id: find(mapping.idFrom) ?? `sha256:${messageHash(message)}`,
    source: own,
    type: find(mapping.typeFrom) ?? mapping.type,
    ...(subject === undefined ? {} : { subject }),
    ...trace,
    ...(partitionkey === undefined ? {} : { partitionkey }),
    ...(message.contentType === undefined ? {} : { datacontenttype: message.contentType }),
    ...parts,
  };
}

/** SHA-256 over what the message says, 64 hexadecimal digits. */
export function messageHash({ body, contentType, messageId, route, headers, key }: BrokerMessage): string {
  const said = [body.toString('base64'), contentType ?? null, messageId ?? null, route, Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1)), ...(key === undefined ? [] : [key])];
  return hash('sha256', JSON.stringify(said), 'hex');
}

function sourceOf(own: string, named: unknown): string {
  return typeof named === 'string' && named !== '' ? `${own}/${named}` : own;
}

function attributesOf(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const prefix = PREFIXES.find((start) => name.startsWith(start));
      const attribute = prefix === undefined ? '' : name.slice(prefix.length);
      return /^[a-z0-9]{1,64}$/.test(attribute) && attribute !== 'data' && attribute !== 'datacontenttype' ? [[attribute, value]] : [];
    }),
  );
}

/** JSON stays JSON, text becomes a string, anything else base64. Without a content type it is tried as JSON. */
function dataOf({ body, contentType }: BrokerMessage): { data?: unknown; data_base64?: string } {
  if (body.length === 0) return {};
  if (contentType !== undefined && JSON_TYPE.test(contentType)) return { data: jsonOf(body) };
  if (contentType === undefined) {
    try {
      return { data: jsonOf(body) };
    } catch (error) {
      if (!(error instanceof HalError)) throw error;
      return { data_base64: body.toString('base64') };
    }
  }
  return contentType.startsWith('text/') ? { data: textOf(body) } : { data_base64: body.toString('base64') };
}

function jsonOf(body: Buffer): unknown {
  const text = textOf(body);
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    // The engine's own message quotes the text.
    throw new HalError('MalformedBody', 'the body is not JSON (cut off, or malformed)');
  }
}

function textOf(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (error) {
    throw new HalError('MalformedBody', 'the body is not UTF-8', { cause: error });
  }
}

function selected(selector: string, message: BrokerMessage, data: unknown): string | undefined {
  if (selector === 'route') return message.route === '' ? undefined : message.route;
  if (selector === 'message-id') return message.messageId;
  if (selector === 'key') return message.key;
  if (selector.startsWith('header:')) return message.headers[selector.slice('header:'.length)];
  let value = data;
  // RFC 6901.
  for (const step of selector.slice('data:/'.length).split('/')) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
    value = isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  }
  return typeof value === 'string' && value !== '' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}
