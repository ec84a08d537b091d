import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import type { Logger } from 'pino';
import { pinoHttp } from 'pino-http';
import { factsOf } from './pipeline.ts';

/** Paths that orchestrators ask all the time. */
const QUIET = new Set(['/healthz', '/readyz', '/metrics']);

/** One JSON line a request: who, what, how long. Never headers, query strings or bodies, which may hold secrets. */
export function requestLog(logger: Logger): RequestHandler {
  return pinoHttp({
    logger,
    quietReqLogger: true,
    quietResLogger: true,
    autoLogging: { ignore: (request: IncomingMessage) => QUIET.has(request.url ?? '') },
    genReqId: (request: IncomingMessage) => request.id,
    customLogLevel: (_request: IncomingMessage, response: ServerResponse) => (response.statusCode >= 500 ? 'error' : 'info'),
    customSuccessMessage: () => 'request',
    customErrorMessage: () => 'request',
    customAttributeKeys: { reqId: 'requestId', responseTime: 'ms' },
    wrapSerializers: false,
    serializers: { req: () => undefined, res: () => undefined, err: () => undefined },
    customProps: (request: IncomingMessage, response: ServerResponse) => ({
      method: request.method,
      path: request.url?.split('?', 1)[0],
      status: response.statusCode,
      ...factsOf(request),
    }),
  });
}
