import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { Caller } from '../platform/identity/caller.ts';
import type { ScopeAttributes } from '../platform/identity/permissions.ts';

/**
 * A route as a value: validation, permission check, OpenAPI and the attack matrix of the tests come out of it.
 * A route without `permission` does not type-check; `public` must be said.
 */
export type Route<Params extends z.ZodType = z.ZodType, Query extends z.ZodType = z.ZodType, Body extends z.ZodType = z.ZodType> = RouteParts<Params, Query, Body> & Recorded;

/**
 * The act the handler's store writes into the audit log, `<resource>.<verb>`, or why none is written. The pipeline writes refused
 * requests itself.
 */
type Audit = string | { readonly none: string };

/** Whatever may change something says what it leaves in the audit log, or does not type-check. */
type Recorded = { readonly method: 'get'; readonly audit?: Audit } | { readonly method: 'post' | 'put' | 'patch' | 'delete'; readonly audit: Audit };

interface RouteParts<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  /** Express 5 path, e.g. `/v1/neurons/:id`. */
  readonly path: string;
  /** OpenAPI operationId, camelCase. */
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** `<resource>:<verb>`, `public` for the few routes that need no credential, or `signed-in` for those about one's own session and account. */
  readonly permission: string;
  /**
   * What of the request decides the permission, for scopes that are narrowed (`runs:write:type=rollout`) and for operations
   * with a permission of their own. Runs before validation, on the raw parameters.
   */
  readonly access?: (raw: { params: Readonly<Record<string, string>>; query: Readonly<Record<string, unknown>> }) => Access;
  /** Whether pages that are not HAL9's (the Temporal UI) call it by cookie: their Origin is enough, no CSRF token is asked for. */
  readonly session?: true;
  /** Whether a person in a browser must have shown a factor, or the password, within the last ten minutes. */
  readonly stepUp?: true;
  /** Time the handler has, milliseconds; default 30,000. 0 for streams, which end by the client or by themselves. */
  readonly timeoutMs?: number;
  readonly params?: Params;
  readonly query?: Query;
  /** Headers of its own that a client may send, each with what it does. The handler reads them from `request`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON body, parsed and validated before the handler. Routes that read the raw stream leave it out and set `rawBody`. */
  readonly body?: Body;
  /** Media types a raw-body route accepts, for OpenAPI; the handler reads `request` itself. */
  readonly rawBody?: Readonly<Record<string, z.ZodType>>;
  /** Success answers by status; failures are problem+json and documented for every route. */
  readonly responses: Readonly<Record<number, RouteResponse>>;
  /** Whether people in a browser get a failure as a page. */
  readonly failurePage?: true;
  readonly handler: (context: RouteContext<z.output<Params>, z.output<Query>, z.output<Body>>) => Promise<RouteAnswer | void>;
}

export interface RouteResponse {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Other media types it may come in. */
  readonly alternatives?: Readonly<Record<string, z.ZodType>>;
}

export interface Access {
  /** Instead of the route's own. */
  readonly permission?: string;
  readonly attributes?: ScopeAttributes;
  /** The handler shows only what the caller's narrowed scopes allow, so any scope for the permission opens the route. */
  readonly filtered?: true;
}

export interface RouteContext<Params, Query, Body> {
  readonly caller: Caller;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly request: Request;
  /** For streams only; a handler that wrote the response itself returns nothing. */
  readonly response: Response;
  /** Aborts when the client goes away or the route's time is up. */
  readonly signal: AbortSignal;
}

export interface RouteAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A route of any types, as lists hold it. */
export type AnyRoute = Omit<RouteParts<z.ZodType, z.ZodType, z.ZodType>, 'handler'> & Recorded & { readonly handler: (context: RouteContext<never, never, never>) => Promise<RouteAnswer | void> };

/** Keeps the inferred types of params, query and body for the handler. */
export function defineRoute<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType>(route: Route<Params, Query, Body>): AnyRoute {
  return route;
}
