import type { RequestHandler } from 'express';
import type { Logger } from 'pino';
import { factsOf } from './pipeline.ts';

/** Paths that orchestrators ask all the time. */
const QUIET = new Set(['/healthz', '/readyz', '/metrics']);

/** Paths whose last part opens something by itself. */
const BEARER = /^(\/approve\/|\/invitations\/).+/;

/**
 * One JSON line a request: who, what, how long. Never headers, query strings or bodies, which may hold secrets.
 * Written by hand on pino: pino-http's child logger and serializers cost a seventh of a start's CPU time here.
 */
export function requestLog(parent: Logger): RequestHandler {
  // What a line holds is all named below, and none of it is a secret: looking for some costs more than the line itself.
  const logger = parent.child({}, { redact: [] });
  return (request, response, next) => {
    if (QUIET.has(request.path)) {
      next();
      return;
    }
    const { method, path } = request;
    const began = performance.now();
    response.once('close', () => {
      // The caller says more than a line may hold: address and scopes.
      const { caller: _, ...fact } = factsOf(request) ?? {};
      const line = {
        requestId: request.id,
        method,
        path: path.replace(BEARER, '$1:token'),
        status: response.statusCode,
        // A client that went away before its answer was complete.
        ...(response.writableFinished ? {} : { aborted: true }),
        ms: Math.round((performance.now() - began) * 100) / 100,
        ...fact,
      };
      if (response.statusCode >= 500) logger.error(line, 'request');
      else logger.info(line, 'request');
    });
    next();
  };
}
