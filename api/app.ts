import { randomUUID } from 'node:crypto';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import cors from 'cors';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler, type Response } from 'express';
import helmet from 'helmet';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Credentials } from '../platform/identity/credentials.ts';
import type { Sessions } from '../platform/identity/sessions.ts';
import { toHalError } from '../platform/failures/translate.ts';
import type { RateLimits } from '../platform/usage/rate-limits.ts';
import { HalError } from '../schemas/errors.ts';
import type { ActWriter } from '../platform/audit/act-writer.ts';
import { audited } from './audited.ts';
import { HttpMetrics } from './http-metrics.ts';
import { OpenHandlers } from './open-handlers.ts';
import { pipeline } from './pipeline.ts';
import { PROBLEM_TYPE, problemOf } from './problem.ts';
import { RequestFacts } from './request-facts.ts';
import { requestLog } from './request-log.ts';
import { traceparentOf } from './request-trace.ts';
import type { AnyRoute } from './route.ts';
import { SCIM_MEDIA_TYPE } from '../schemas/rest/scim.ts';
import { SCIM_PATH, scimProblemOf, scimStatusOf } from './scim-problem.ts';
import { TEMPORAL_UI_PATH } from './temporal-ui.ts';

export interface AppOptions {
  routes: readonly AnyRoute[];
  /** Writes refused requests down. */
  acts: Pick<ActWriter, 'refused' | 'missing'>;
  credentials: Credentials;
  sessions: Sessions;
  logger: Logger;
  registry: Registry;
  /** Origins that browsers may call from; empty for none. */
  corsOrigins: readonly string[];
  /** Origin of a Temporal UI that is not proxied, which may call the codec endpoint with its cookie. */
  uiOrigin?: string | undefined;
  /** The Temporal UI behind the API's session; see `temporal-ui.ts`. */
  temporalUi?: RequestHandler | undefined;
  bodyLimitBytes: number;
  /** Time a JSON body has to arrive, milliseconds; default 30,000. */
  bodyArrivalMs?: number;
  limits: RateLimits;
  /** Proxies in front whose X-Forwarded-For is believed; default 0. */
  trustedProxies?: number;
  /** Whether clients reach the app by HTTPS: sends Strict-Transport-Security. */
  https: boolean;
}

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** The API without its listener. Everything about a route comes from its value; see `route.ts` and `pipeline.ts`. */
export function createApp(options: AppOptions): Express {
  const app = express();
  app.set('x-powered-by', false);
  app.set('etag', false);
  app.set('query parser', 'simple');
  app.set('trust proxy', options.trustedProxies ?? 0);
  const metrics = new HttpMetrics(options.registry);
  const pipelineOptions = {
    credentials: options.credentials,
    sessions: options.sessions,
    https: options.https,
    limits: options.limits,
    uiOrigin: options.uiOrigin,
    bodyLimitBytes: options.bodyLimitBytes,
    ...(options.bodyArrivalMs === undefined ? {} : { bodyArrivalMs: options.bodyArrivalMs }),
    open: new OpenHandlers(),
  };

  app.use(inTurn(identified(metrics, requestLog(options.logger)), hardened(options.https), crossOrigin(options)));
  // A router tries its paths one after the other. Those without parameters, most of all, are told by one look.
  const [fixed, named] = [express.Router(), express.Router()];
  const fixedPaths = new Set<string>();
  for (const [path, routes] of byPath(options.routes)) {
    if (!path.includes(':')) fixedPaths.add(plainPath(path));
    const endpoint = (path.includes(':') ? named : fixed).route(path);
    for (const route of routes) endpoint[route.method](audited(route, pipeline(route, pipelineOptions), options.acts));
    endpoint.all(refuseMethod(routes));
  }
  // `/v1/runs/:id` would take `/v1/runs/bulk` for the run "bulk".
  app.use((request, response, next) => (fixedPaths.has(plainPath(request.path)) ? fixed : named)(request, response, next));
  if (options.temporalUi !== undefined) app.use(TEMPORAL_UI_PATH, options.temporalUi);
  app.use(() => {
    throw new HalError('NotFound', 'there is nothing at this path');
  });
  app.use(failed(metrics, options.logger));
  return app;
}

/** Handlers as one: of every layer Express asks again whether it is meant, which costs more than what these do. */
function inTurn(...handlers: readonly RequestHandler[]): RequestHandler {
  return (request, response, next) => {
    let index = 0;
    const step = (error?: unknown): void => {
      const handler = error === undefined ? handlers[index] : undefined;
      index += 1;
      if (handler === undefined) next(error);
      else void handler(request, response, step);
    };
    step();
  };
}

/** Gives the request its id, and measures and logs it when it is over. */
function identified(metrics: HttpMetrics, log: (request: Request, response: Response, ms: number) => void): RequestHandler {
  return (request, response, next) => {
    const facts = new RequestFacts(request.method, request.path);
    request.facts = facts;
    const sent = request.headers['x-request-id'];
    const id = typeof sent === 'string' && REQUEST_ID.test(sent) ? sent : randomUUID();
    request.id = id;
    response.setHeader('X-Request-Id', id);
    request.traceparent = traceparentOf(request);
    response.setHeader('X-Trace-Id', request.traceparent.slice(3, 35));
    response.setHeader('traceresponse', request.traceparent);
    response.setHeader('Cache-Control', 'no-store');
    metrics.begin();
    // One listener for all that has to be told: each costs as much as what it does.
    response.once('close', () => {
      const ms = performance.now() - facts.began;
      metrics.end(facts.method, facts.route ?? 'unmatched', response.statusCode, ms / 1000);
      facts.trace?.end(response.statusCode);
      log(request, response, ms);
    });
    next(unreadableIn(request));
  };
}

/** What no route could make sense of. */
function unreadableIn(request: Request): HalError | undefined {
  // RFC 9112, 3.2.
  if (request.httpVersion === '1.1' && request.headers.host === undefined) return new HalError('MalformedRequest', 'the request has no Host header');
  // PostgreSQL cannot compare with it, and no id or filter has one.
  if (request.url.includes('%00')) return new HalError('InvalidInput', 'the address holds a NUL (%00)');
  return undefined;
}

/** Helmet's headers are the same on every answer: worked out once, because its dozen middlewares are a fortieth of a start's CPU time. */
function hardened(https: boolean): RequestHandler {
  const sample = new ServerResponse(new IncomingMessage(new Socket()));
  helmet({
    strictTransportSecurity: https ? { maxAge: 31_536_000, includeSubDomains: false } : false,
    // Without TLS there is nothing to upgrade to: forms and scripts of our own pages would fail.
    contentSecurityPolicy: { directives: { upgradeInsecureRequests: https ? [] : null } },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
  })(sample.req, sample, (failure) => {
    if (failure !== undefined) throw failure;
  });
  const headers = Object.entries(sample.getHeaders()).map(([name, value]) => [name, String(value)] as const);
  return (_request, response, next) => {
    for (const [name, value] of headers) response.setHeader(name, value);
    next();
  };
}

function crossOrigin(options: AppOptions): RequestHandler {
  const exposed = ['X-Request-Id', 'X-Trace-Id', 'Retry-After', 'RateLimit', 'RateLimit-Policy', 'Link'];
  const allowed = cors({ origin: [...options.corsOrigins], exposedHeaders: exposed, maxAge: 600 });
  // Cookies cross origins for the Temporal UI only, and only on the codec endpoint.
  const session = cors({ origin: options.uiOrigin ?? false, credentials: true, methods: ['POST'], maxAge: 600 });
  return (request, response, next) => {
    if (request.headers.origin === undefined) {
      response.setHeader('Vary', 'Origin');
      next();
      return;
    }
    (request.path.startsWith('/codec/') ? session : allowed)(request, response, next);
  };
}

/** A path as Express compares it: case and a slash at its end do not count. */
function plainPath(path: string): string {
  return (path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path).toLowerCase();
}

function byPath(routes: readonly AnyRoute[]): Map<string, AnyRoute[]> {
  const paths = new Map<string, AnyRoute[]>();
  for (const route of routes) {
    const list = paths.get(route.path) ?? [];
    if (list.some((other) => other.method === route.method)) throw new Error(`two routes for ${route.method} ${route.path}`);
    paths.set(route.path, [...list, route]);
  }
  return paths;
}

function refuseMethod(routes: readonly AnyRoute[]): RequestHandler {
  const methods = routes.map((route) => route.method.toUpperCase());
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  return (request, response) => {
    response.setHeader('Allow', allow);
    if (request.method === 'OPTIONS') {
      response.status(204).end();
      return;
    }
    throw new HalError('MethodNotAllowed', `${request.method} is not possible here`);
  };
}

/** The one place where failures become answers. */
function failed(metrics: HttpMetrics, logger: Logger): ErrorRequestHandler {
  return (thrown: unknown, request: Request, response: Response, _next) => {
    const error = toHalError(thrown);
    const route = request.facts.route ?? 'unmatched';
    metrics.failure(route, error.type);
    if (error.failure.status >= 500) logger.error({ requestId: request.id, route, failure: error.type, err: error.cause ?? error }, 'request failed');
    if (response.headersSent) {
      // Too late for another status: a broken connection is the only honest sign left.
      response.destroy();
      return;
    }
    if (error.failure.status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="hal9"');
    if (error.retryAfterSeconds !== undefined) response.setHeader('Retry-After', String(Math.ceil(error.retryAfterSeconds)));
    // The rest of an unread body is not worth reading.
    if (hasBody(request) && !request.complete) response.setHeader('Connection', 'close');
    const scim = request.path.startsWith(`${SCIM_PATH}/`);
    response.statusCode = scim ? scimStatusOf(error) : error.failure.status;
    response.setHeader('Content-Type', scim ? SCIM_MEDIA_TYPE : PROBLEM_TYPE);
    response.end(JSON.stringify(scim ? scimProblemOf(error) : problemOf(error, String(request.id))));
  };
}

function hasBody(request: Request): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}
