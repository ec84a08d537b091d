import type { RequestFacts } from './request-facts.ts';

declare global {
  namespace Express {
    interface Request {
      /** Given by the client in X-Request-Id, or made here. */
      id: string;
      /** W3C trace context of the request: the client's, or made here. */
      traceparent: string;
      facts: RequestFacts;
    }
  }
}
