import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import type { Caller } from '../platform/identity/caller.ts';
import { fieldErrors } from '../platform/failures/translate.ts';
import { assertCan, canSome } from '../platform/identity/permissions.ts';
import { HalError, type FieldError } from '../schemas/errors.ts';
import { authenticate, type AuthenticationOptions } from './authentication.ts';
import type { HttpMetrics } from './http-metrics.ts';
import { readJson } from './json-body.ts';
import { RequestTrace } from './request-trace.ts';
import type { AnyRoute, RouteAnswer, RouteContext } from './route.ts';

/** Time a handler has unless its route says otherwise, milliseconds. */
const HANDLER_MS = 30_000;
/** A stream that sends nothing for so long is ended, milliseconds. */
const STREAM_IDLE_MS = 120_000;

export interface PipelineOptions extends AuthenticationOptions {
  bodyLimitBytes: number;
  bodyArrivalMs?: number;
  metrics: HttpMetrics;
}

/** Who asked through which route; kept for the log line of the request. */
export interface RequestFacts {
  route: string;
  traceId?: string;
  orgId?: string;
  keyId?: string;
  /** Who asked, as soon as that is known. */
  caller?: Caller;
}

const facts = new WeakMap<object, RequestFacts>();

export function factsOf(request: object): RequestFacts | undefined {
  return facts.get(request);
}

const NOBODY = { orgId: '', actor: { kind: 'system', id: 'public' }, scopes: [] } as const;

/**
 * The way of every request, in this order: trace, credential, rate, permission, parameters, body, handler, answer.
 * Failures leave as a thrown value for the one error mapper.
 */
export function pipeline(route: AnyRoute, options: PipelineOptions): RequestHandler {
  return async (request: Request, response: Response, _next: NextFunction) => {
    const fact: RequestFacts = { route: route.id };
    facts.set(request, fact);
    const trace = new RequestTrace(request, route.id, route.path);
    fact.traceId = trace.traceId;
    response.setHeader('X-Trace-Id', trace.traceId);
    response.setHeader('traceresponse', trace.traceparent);
    response.once('close', () => trace.end(response.statusCode));

    const caller = await callerOf(route, request, trace.traceparent, fact, options);
    const params = validate(route.params, request.params, '/params');
    const query = validate(route.query, request.query, '/query');
    const body = route.body === undefined ? undefined : validate(route.body, await readJson(request, limits(options)), '');
    await handle(route, { caller, params, query, body, request, response });
  };
}

function limits(options: PipelineOptions): { limitBytes: number; arrivalMs?: number } {
  return options.bodyArrivalMs === undefined ? { limitBytes: options.bodyLimitBytes } : { limitBytes: options.bodyLimitBytes, arrivalMs: options.bodyArrivalMs };
}

async function callerOf(route: AnyRoute, request: Request, traceparent: string, fact: RequestFacts, options: PipelineOptions): Promise<Caller> {
  const requestId = String(request.id);
  if (route.permission === 'public') return { ...NOBODY, requestId, traceparent };
  const credential = await authenticate(request, route.session === true, options);
  fact.orgId = credential.orgId;
  fact.keyId = credential.id;
  const caller: Caller = { orgId: credential.orgId, actor: { kind: 'api-key', id: credential.id }, scopes: credential.scopes, requestId, traceparent };
  fact.caller = caller;
  await options.limits.countRequest(credential.id);
  const access = route.access?.({ params: textParams(request.params), query: request.query });
  const permission = access?.permission ?? route.permission;
  if (access?.filtered !== true || !canSome(caller, permission)) assertCan(caller, permission, access?.attributes);
  return caller;
}

function textParams(params: Request['params']): Record<string, string> {
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, Array.isArray(value) ? value.join('/') : value]));
}

/** @throws {HalError} `InvalidInput` naming every offending field. */
function validate(schema: z.ZodType | undefined, value: unknown, prefix: string): unknown {
  if (schema === undefined) return undefined;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const errors: FieldError[] = fieldErrors(parsed.error, prefix);
  const where = prefix === '' ? 'body' : prefix === '/query' ? 'query string' : 'path';
  throw new HalError('InvalidInput', `the ${where} does not match the schema`, { errors });
}

type Unbound = Omit<RouteContext<unknown, unknown, unknown>, 'signal'>;

async function handle(route: AnyRoute, context: Unbound): Promise<void> {
  const { request, response } = context;
  const abort = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) abort.abort(new HalError('Timeout', 'the client went away'));
  });
  const limit = route.timeoutMs ?? (route.rawBody === undefined ? HANDLER_MS : 0);
  // Node destroys a socket that times out when nobody listens for it.
  if (limit === 0) request.socket.setTimeout(STREAM_IDLE_MS);
  let timer: NodeJS.Timeout | undefined;
  try {
    // The list of routes forgets their types; `defineRoute` checked that the handler takes what the schemas produce.
    const running = route.handler({ ...context, signal: abort.signal } as RouteContext<never, never, never>);
    const answer = limit === 0 ? await running : await Promise.race([running, expiry()]);
    if (answer !== undefined && !response.writableEnded) send(route, response, answer);
  } finally {
    clearTimeout(timer);
    if (limit === 0) request.socket.setTimeout(0);
  }

  function expiry(): Promise<never> {
    return new Promise((_, reject) => {
      timer = setTimeout(() => {
        const late = new HalError('Timeout', `no answer within ${limit / 1000} s`);
        abort.abort(late);
        reject(late);
      }, limit);
    });
  }
}

function send(route: AnyRoute, response: Response, answer: RouteAnswer): void {
  response.statusCode = answer.status;
  if (answer.headers !== undefined) for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value);
  if (answer.body === undefined) {
    response.end();
    return;
  }
  const documented = route.responses[answer.status]?.contentType;
  if (typeof answer.body === 'string' || Buffer.isBuffer(answer.body)) {
    if (!response.hasHeader('Content-Type')) response.setHeader('Content-Type', documented ?? 'text/plain; charset=utf-8');
    response.end(answer.body);
    return;
  }
  if (!response.hasHeader('Content-Type')) response.setHeader('Content-Type', documented ?? 'application/json');
  response.end(JSON.stringify(answer.body));
}
