import type { RequestHandler } from 'express';
import { actOf } from '../platform/audit/act.ts';
import type { ActWriter } from '../platform/audit/act-writer.ts';
import { watchActs } from '../platform/audit/watch.ts';
import { toHalError } from '../platform/failures/translate.ts';
import type { AnyRoute } from './route.ts';

/** Answers that mean: somebody known was not let. Malformed requests and things that are not there are no acts. */
const REFUSED = new Set([402, 403, 409, 429]);

/**
 * Sees to it that a request leaves its act: one that changes something writes it in its cause's transaction, and is told off when it did
 * not; one that was refused is written down here.
 */
export function audited(route: AnyRoute, handler: RequestHandler, acts: Pick<ActWriter, 'refused' | 'missing'>): RequestHandler {
  return async (request, response, next) => {
    try {
      if (typeof route.audit !== 'string') {
        await handler(request, response, next);
        return;
      }
      const { written } = await watchActs(async () => handler(request, response, next));
      if (!written && response.statusCode < 400) acts.missing(route.id);
    } catch (error) {
      const { caller } = request.facts;
      const failure = toHalError(error);
      if (caller !== undefined && caller.orgId !== '' && REFUSED.has(failure.failure.status)) {
        const action = typeof route.audit === 'string' ? route.audit : `request.${route.method}`;
        acts.refused(actOf(caller, action, { kind: 'route', id: route.id }, { route: route.id, type: failure.type }, 'refused'));
      }
      throw error;
    }
  };
}
