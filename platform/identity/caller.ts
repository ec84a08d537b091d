/** Who asks: built by the API from a credential, or by a background process for its own work. */
export interface Caller {
  readonly orgId: string;
  readonly actor: { readonly kind: 'api-key' | 'system'; /** Key id, or the name of the process. Never a secret. */ readonly id: string };
  /**
   * Scopes of the credential: `*`, `<resource>:*`, `<resource>:<verb>`, or narrowed as `runs:write:type=rollout`.
   * See `can` in `permissions.ts`.
   */
  readonly scopes: readonly string[];
  readonly requestId: string;
  /** W3C trace context of the request, passed on to runs and signals. */
  readonly traceparent: string | undefined;
}

/** A caller for HAL9's own background work on behalf of one organisation. */
export function systemCaller(orgId: string, process: string, traceparent?: string): Caller {
  return { orgId, actor: { kind: 'system', id: process }, scopes: ['*'], requestId: process, traceparent };
}
