import type { Caller } from '../platform/identity/caller.ts';
import type { RequestTrace } from './request-trace.ts';

/** What comes to be known of a request while it is answered: for its measures, its log line and its trace. */
export class RequestFacts {
  /** Monotonic, milliseconds. */
  readonly began = performance.now();
  readonly method: string;
  /** As the client sent it: routers that are mounted below a path shorten it while they work. */
  readonly path: string;
  /** Id of the route. */
  route: string | undefined;
  trace: RequestTrace | undefined;
  orgId: string | undefined;
  keyId: string | undefined;
  /** Who asked, as soon as that is known. */
  caller: Caller | undefined;

  constructor(method: string, path: string) {
    this.method = method;
    this.path = path;
  }
}
