import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import Stripe from 'stripe';

type Body = Record<string, unknown> & { id?: string };

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** What the next requests to a path meet, before or after they took effect. */
export type Fault = 'rate-limited' | 'broken' | 'answer-lost' | 'hangs' | 'unauthorized';

export interface StripeServer {
  readonly url: string;
  readonly customers: Map<string, Body>;
  readonly subscriptions: Map<string, Body>;
  /** Meter events that were taken, by identifier. */
  readonly meterEvents: Map<string, { event_name: string; payload: { stripe_customer_id: string; value: string }; timestamp: number }>;
  /** `METHOD /path` of every request that arrived. */
  readonly requests: string[];
  /** Lets the next requests whose path ends so fail, one fault each. */
  fail(path: string, ...faults: Fault[]): void;
  /** Forgets answers kept for idempotency keys, as Stripe does after a day. */
  forgetKeys(): void;
  /** An event as Stripe would send it: body and signature. */
  event(type: string, object: Body, options?: { secret?: string; created?: number; signedAt?: number }): { body: string; signature: string };
  close(): Promise<void>;
}

export const API_KEY = 'sk_test_local';
export const WEBHOOK_SECRET = 'whsec_local';

/**
 * A server of Stripe's protocol as far as HAL9 speaks it, on loopback: form-encoded requests, bearer keys, idempotency keys whose answers
 * are replayed, error objects, meter events unique by identifier. After docs.stripe.com/api.
 */
export async function startStripeServer(): Promise<StripeServer> {
  const customers = new Map<string, Body>();
  const subscriptions = new Map<string, Body>();
  const meterEvents: StripeServer['meterEvents'] = new Map();
  const requests: string[] = [];
  const faults = new Map<string, Fault[]>();
  const answers = new Map<string, Answer & { request: string }>();
  let count = 0;

  const account = randomBytes(4).toString('hex');
  const next = (prefix: string): string => `${prefix}_${account}${++count}`;
  const invalid = (message: string, code = 'parameter_invalid'): Answer => ({ status: 400, body: { error: { type: 'invalid_request_error', code, message } } });

  function subscriptionOf(id: string, form: Record<string, unknown>, before?: Body): Body {
    const items = form['items'] as { price: string; id?: string }[] | undefined;
    return {
      id,
      object: 'subscription',
      customer: before?.['customer'] ?? form['customer'],
      status: before?.['status'] ?? 'incomplete',
      cancel_at: form['cancel_at_period_end'] === 'true' ? Math.floor(Date.now() / 1000) + 86_400 : null,
      items: items === undefined ? before?.['items'] : { object: 'list', data: items.map((item, index) => ({ id: item.id ?? `${id}_item_${index}`, object: 'subscription_item', price: { id: item.price, object: 'price' } })) },
    };
  }

  function take(method: string, path: string, form: Record<string, unknown>): Answer {
    if (method === 'POST' && path === '/v1/customers') {
      const customer = { id: next('cus'), object: 'customer', name: form['name'], metadata: form['metadata'] };
      customers.set(customer.id, customer);
      return { status: 200, body: customer };
    }
    if (method === 'POST' && path === '/v1/subscriptions') {
      if (!customers.has(String(form['customer']))) return invalid(`No such customer: '${String(form['customer'])}'`, 'resource_missing');
      const made = subscriptionOf(next('sub'), form);
      subscriptions.set(String(made.id), made);
      return { status: 200, body: made };
    }
    const id = /^\/v1\/subscriptions\/(\w+)$/.exec(path)?.[1];
    if (id !== undefined) {
      const known = subscriptions.get(id);
      if (known === undefined) return { status: 404, body: { error: { type: 'invalid_request_error', code: 'resource_missing', message: `No such subscription: '${id}'` } } };
      if (method === 'GET') return { status: 200, body: known };
      const changed = subscriptionOf(id, form, known);
      subscriptions.set(id, changed);
      return { status: 200, body: changed };
    }
    if (method === 'POST' && path === '/v1/billing/meter_events') {
      const event = form as unknown as { event_name: string; identifier: string; payload: { stripe_customer_id: string; value: string }; timestamp: string };
      if (!customers.has(event.payload.stripe_customer_id)) return invalid('No such customer', 'resource_missing');
      if (meterEvents.has(event.identifier)) return invalid(`An event already exists with identifier ${event.identifier}.`);
      meterEvents.set(event.identifier, { event_name: event.event_name, payload: event.payload, timestamp: Number(event.timestamp) });
      return { status: 200, body: { object: 'billing.meter_event', ...event } };
    }
    return { status: 404, body: { error: { type: 'invalid_request_error', message: `Unrecognized request URL (${method}: ${path}).` } } };
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
    const [method, path] = [request.method ?? '', (request.url ?? '').split('?')[0] ?? ''];
    const text = Buffer.concat(chunks).toString('utf8');
    requests.push(`${method} ${path}`);
    const send = ({ status, body }: Answer, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'Content-Type': 'application/json', 'Request-Id': `req_${++count}`, ...headers });
      response.end(JSON.stringify(body));
    };
    const fault = [...faults].find(([ending]) => path.endsWith(ending))?.[1].shift();
    if (request.headers.authorization !== `Bearer ${API_KEY}` || fault === 'unauthorized') return send({ status: 401, body: { error: { type: 'invalid_request_error', message: 'Invalid API Key provided' } } });
    if (fault === 'hangs') return;
    if (fault === 'rate-limited') return send({ status: 429, body: { error: { type: 'invalid_request_error', code: 'rate_limit', message: 'Too many requests' } } }, { 'Retry-After': '1', 'Stripe-Should-Retry': 'false' });
    if (fault === 'broken') return send({ status: 500, body: { error: { type: 'api_error', message: 'Something went wrong on our end' } } }, { 'Stripe-Should-Retry': 'false' });
    const key = request.headers['idempotency-key'];
    const known = typeof key === 'string' ? answers.get(key) : undefined;
    if (known !== undefined && known.request !== `${path} ${text}`) {
      return send({ status: 400, body: { error: { type: 'idempotency_error', message: 'Keys for idempotent requests can only be used with the same parameters they were first used with.' } } });
    }
    const answer = known ?? take(method, path, parseForm(text));
    if (typeof key === 'string' && known === undefined && method === 'POST') answers.set(key, { ...answer, request: `${path} ${text}` });
    if (fault === 'answer-lost') return void request.socket.destroy();
    send(answer, known === undefined ? {} : { 'Idempotent-Replayed': 'true' });
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const signer = new Stripe(API_KEY);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    customers,
    subscriptions,
    meterEvents,
    requests,
    fail: (path, ...planned) => void faults.set(path, planned),
    forgetKeys: () => answers.clear(),
    event(type, object, { secret = WEBHOOK_SECRET, created = Math.floor(Date.now() / 1000), signedAt = Math.floor(Date.now() / 1000) } = {}) {
      const body = JSON.stringify({ id: next('evt'), object: 'event', type, created, data: { object } });
      return { body, signature: signer.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: signedAt }) };
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** `items[0][price]=x` as nested objects and arrays. */
function parseForm(text: string): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [name, value] of new URLSearchParams(text)) {
    const path = name.replaceAll(']', '').split('[');
    let place = root;
    for (const [index, part] of path.entries()) {
      if (index === path.length - 1) place[part] = value;
      else place = (place[part] ??= /^\d+$/.test(path[index + 1] ?? '') ? [] : {}) as Record<string, unknown>;
    }
  }
  return root;
}
