/** Who asks: built by the API from a credential, or by a background process for its own work. */
export interface Caller {
  /** The organisation acted in; for people of a parent organisation it may be a descendant of theirs. */
  readonly orgId: string;
  /** Of a person who acts in an organisation below their own: their own. */
  readonly homeOrgId?: string | undefined;
  readonly actor: {
    readonly kind: 'api-key' | 'user' | 'service' | 'system';
    /** Id of the key, user or service token's subject, or the name of the process. Never a secret, never a name of a person. */
    readonly id: string;
  };
  /**
   * What the credential allows for this request, its conditions (time, network, risk) already judged: `*`, `<resource>:*`,
   * `<resource>:<verb>`, or narrowed as `runs:write:type=rollout`. See `can` in `permissions.ts`.
   */
  readonly scopes: readonly string[];
  readonly requestId: string;
  /** W3C trace context of the request, passed on to runs and signals. */
  readonly traceparent: string | undefined;
  /** Network address and agent the request came from; undefined for background work. Personal data. */
  readonly client?: { readonly address: string; readonly userAgent: string | undefined } | undefined;
  /** Session of a person in a browser. */
  readonly sessionId?: string | undefined;
  /** The user who acts as the actor, when an administrator impersonates somebody. */
  readonly impersonatorId?: string | undefined;
  /** How unusual the request looks, 0 to 100. */
  readonly risk?: number | undefined;
}

/** A caller for HAL9's own background work on behalf of one organisation. */
export function systemCaller(orgId: string, process: string, traceparent?: string): Caller {
  return { orgId, actor: { kind: 'system', id: process }, scopes: ['*'], requestId: process, traceparent };
}
