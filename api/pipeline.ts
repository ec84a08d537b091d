import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import type { Caller } from '../platform/identity/caller.ts';
import { fieldErrors } from '../platform/failures/translate.ts';
import { assertCan, can, canSome, type ScopeAttributes } from '../platform/identity/permissions.ts';
import { HalError, type FieldError } from '../schemas/errors.ts';
import type { Authenticated } from '../platform/identity/credentials.ts';
import { STEP_UP_SECONDS } from '../platform/identity/sessions.ts';
import { authenticate, type AuthenticationOptions } from './authentication.ts';
import { incomingFacts } from './incoming-facts.ts';
import { readJson } from './json-body.ts';
import type { OpenHandler, OpenHandlers } from './open-handlers.ts';
import { addRateLimits } from './rate-limit-headers.ts';
import type { RequestFacts } from './request-facts.ts';
import { RequestTrace } from './request-trace.ts';
import type { AnyRoute, RouteAnswer, RouteContext } from './route.ts';

/** Time a handler has unless its route says otherwise, milliseconds. */
const HANDLER_MS = 30_000;
/** A stream that sends nothing for so long is ended, milliseconds. */
const STREAM_IDLE_MS = 120_000;

export interface PipelineOptions extends AuthenticationOptions {
  bodyLimitBytes: number;
  bodyArrivalMs?: number;
  open: OpenHandlers;
}

const TOO_MANY = { key: 'this credential is over its requests per second', organisation: 'the organisation is over the requests per second of its plan', operation: 'the operation is over its starts' } as const;

const NOBODY = { orgId: '', actor: { kind: 'system', id: 'public' }, scopes: [] } as const;

/**
 * The way of every request, in this order: trace, credential, rate, permission, parameters, body, handler, answer.
 * Failures leave as a thrown value for the one error mapper.
 */
export function pipeline(route: AnyRoute, options: PipelineOptions): RequestHandler {
  return async (request: Request, response: Response, _next: NextFunction) => {
    const { facts } = request;
    facts.route = route.id;
    const trace = new RequestTrace(request, route.id, route.path);
    facts.trace = trace;
    if (trace.traceparent !== request.traceparent) {
      response.setHeader('X-Trace-Id', trace.traceId);
      response.setHeader('traceresponse', trace.traceparent);
    }

    const { caller, stillAllowed } = await callerOf(route, request, response, trace.traceparent, facts, options);
    const params = validate(route.params, request.params, '/params');
    const query = validate(route.query, request.query, '/query');
    const body = route.body === undefined ? undefined : validate(route.body, await readJson(request, limits(options)), '');
    await handle(route, { caller, params, query, body, request, response }, stillAllowed, options.open);
  };
}

function limits(options: PipelineOptions): { limitBytes: number; arrivalMs?: number } {
  return options.bodyArrivalMs === undefined ? { limitBytes: options.bodyLimitBytes } : { limitBytes: options.bodyLimitBytes, arrivalMs: options.bodyArrivalMs };
}

interface Admitted {
  readonly caller: Caller;
  /** Asked while somebody waits for an answer; undefined where there is nothing to revoke. */
  readonly stillAllowed: (() => Promise<boolean>) | undefined;
}

async function callerOf(route: AnyRoute, request: Request, response: Response, traceparent: string, facts: RequestFacts, options: PipelineOptions): Promise<Admitted> {
  const requestId = String(request.id);
  const { address, userAgent } = incomingFacts(request, options.https);
  const client = { address, userAgent };
  if (route.permission === 'public') return { caller: { ...NOBODY, requestId, traceparent, client }, stillAllowed: undefined };
  const found = await authenticate(request, response, route.session === true ? 'origin' : 'token', options);
  facts.orgId = found.orgId;
  facts.keyId = found.session?.id ?? found.actor.id;
  const { orgId, homeOrgId, actor, scopes, impersonatorId, risk } = found;
  const caller: Caller = { orgId, homeOrgId, actor, scopes, requestId, traceparent, client, sessionId: found.session?.id, impersonatorId, risk };
  facts.caller = caller;
  const { standings, refused } = options.limits.takeRequest(found.orgId, facts.keyId);
  addRateLimits(response, standings);
  if (refused !== undefined) throw new HalError('RateLimited', TOO_MANY[refused.name], { retryAfterSeconds: refused.resetSeconds });
  assertAllowed(route, request, caller);
  if (route.stepUp === true) assertRecentProof(found);
  return {
    caller,
    async stillAllowed() {
      const now = await found.again();
      return now !== undefined && allows(route, request, { ...caller, scopes: now });
    },
  };
}

/** @throws {HalError} `Forbidden`. */
function assertAllowed(route: AnyRoute, request: Request, caller: Caller): void {
  if (route.permission === 'signed-in') {
    if (caller.sessionId === undefined) throw new HalError('Forbidden', 'this is about a session: sign in with a browser');
    return;
  }
  const params = textParams(request.params);
  const access = route.access?.({ params, query: request.query });
  const permission = access?.permission ?? route.permission;
  // A scope may be narrowed to one resource, as those of what a team was given are.
  const named: ScopeAttributes = params['id'] === undefined ? {} : { id: params['id'] };
  const granted = can(caller, permission, { ...named, ...access?.attributes }) || (access?.filtered === true && canSome(caller, permission));
  if (!granted) assertCan(caller, permission, access?.attributes);
}

function allows(route: AnyRoute, request: Request, caller: Caller): boolean {
  try {
    assertAllowed(route, request, caller);
    return true;
  } catch (error) {
    if (error instanceof HalError) return false;
    throw error;
  }
}

/** @throws {HalError} `StepUpRequired` for a person in a browser who has not shown who they are for a while. Keys prove themselves with every request. */
function assertRecentProof({ session }: Authenticated): void {
  if (session === undefined || session.userId === null) return;
  if (session.impersonator !== null) throw new HalError('Forbidden', 'not while you act as somebody else');
  if (Date.now() - session.verifiedAt.getTime() > STEP_UP_SECONDS * 1000) throw new HalError('StepUpRequired', `this needs a proof that is younger than ${STEP_UP_SECONDS / 60} minutes`);
}

function textParams(params: Request['params']): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const name in params) {
    const value = params[name];
    if (value !== undefined) texts[name] = Array.isArray(value) ? value.join('/') : value;
  }
  return texts;
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

async function handle(route: AnyRoute, context: Unbound, stillAllowed: Admitted['stillAllowed'], open: OpenHandlers): Promise<void> {
  const { request, response } = context;
  const abort = new LateAbort(response);
  const limitMs = route.timeoutMs ?? (route.rawBody === undefined ? HANDLER_MS : 0);
  // Node destroys a socket that times out when nobody listens for it.
  if (limitMs === 0) request.socket.setTimeout(STREAM_IDLE_MS);
  // Whoever waits is cut off by a revocation; a change under way is not, for its answer tells whether it was made.
  const waits = limitMs === 0 || limitMs > HANDLER_MS || request.method === 'GET';
  const handler = new Handler(limitMs, waits ? stillAllowed : undefined, response, abort);
  open.add(handler);
  try {
    const answer = await handler.answer(route.handler(new HandlerContext(context, abort)));
    if (answer !== undefined && !response.writableEnded) send(route, response, answer);
  } finally {
    open.remove(handler);
    if (limitMs === 0) request.socket.setTimeout(0);
  }
}

/** A handler under way: its answer, unless its time or its credential ends before. */
class Handler implements OpenHandler {
  place = -1;
  readonly until: number;
  readonly limitMs: number;
  readonly stillAllowed: Admitted['stillAllowed'];
  readonly #response: Response;
  readonly #abort: LateAbort;
  #refuse: ((reason: HalError) => void) | undefined;

  constructor(limitMs: number, stillAllowed: Admitted['stillAllowed'], response: Response, abort: LateAbort) {
    this.limitMs = limitMs;
    this.until = limitMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + limitMs;
    this.stillAllowed = stillAllowed;
    this.#response = response;
    this.#abort = abort;
  }

  answer(running: Promise<RouteAnswer | void>): Promise<RouteAnswer | void> {
    return new Promise((resolve, reject) => {
      this.#refuse = reject;
      running.then(resolve, reject);
    });
  }

  gone(): boolean {
    return this.#response.closed;
  }

  end(reason: HalError): void {
    this.#abort.abort(reason);
    this.#refuse?.(reason);
  }
}

/**
 * What a handler gets. A class, because a getter in a literal gives each request a hidden class of its own, which V8 keeps, and with it the
 * whole request, until the old memory is collected.
 */
class HandlerContext implements RouteContext<never, never, never> {
  readonly caller: Caller;
  readonly params: never;
  readonly query: never;
  readonly body: never;
  readonly request: Request;
  readonly response: Response;
  readonly #abort: LateAbort;

  constructor({ caller, params, query, body, request, response }: Unbound, abort: LateAbort) {
    this.caller = caller;
    // The list of routes forgets their types; `defineRoute` checked that the handler takes what the schemas produce.
    this.params = params as never;
    this.query = query as never;
    this.body = body as never;
    this.request = request;
    this.response = response;
    this.#abort = abort;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
}

/** Aborts when the client goes away or somebody says so. Made when it is asked for: most handlers have answered before anybody would look. */
class LateAbort {
  readonly #response: Response;
  #controller: AbortController | undefined;
  #reason: HalError | undefined;

  constructor(response: Response) {
    this.#response = response;
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    if (this.#reason !== undefined) controller.abort(this.#reason);
    else if (this.#response.closed) this.#left();
    else this.#response.once('close', () => this.#left());
    return controller.signal;
  }

  abort(reason: HalError): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  #left(): void {
    if (!this.#response.writableFinished) this.abort(new HalError('Timeout', 'the client went away'));
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
