import { z } from 'zod';
import type { DeadLetter, DeadLetterStore } from '../../database/dead-letters.ts';
import type { SignalStore } from '../../database/signals.ts';
import { replayDeadLetter } from '../../platform/signals/replay.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { deadLetterFilter, deadLetterView, signalParams } from '../../schemas/rest/signals.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

export interface DeadLetterRouteOptions {
  readonly letters: DeadLetterStore;
  readonly signals: SignalStore;
}

/** PostgreSQL's own text of a timestamp, with its microseconds. */
const position = z.object({ at: z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?$/), id: z.uuid() });

/** What could not be worked off, and the way back in. */
export function createDeadLetterRoutes(options: DeadLetterRouteOptions): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/dead-letters',
      id: 'listDeadLetters',
      tag: 'Signals',
      summary: 'Lists what could not be worked off, newest first',
      permission: 'signals:read',
      query: pageQuery.extend(deadLetterFilter.shape),
      responses: { 200: { description: 'A page of dead letters, each with its cause.', schema: pageOf(deadLetterView) } },
      handler: async ({ caller, query }) => {
        const at = query.cursor === undefined ? undefined : decodeCursor(query.cursor, position);
        const { letters, next } = await options.letters.list(caller.orgId, {
          limit: query.limit,
          ...(query.replayed === undefined ? {} : { replayed: query.replayed === 'true' }),
          ...(at === undefined ? {} : { after: { createdAt: at.at, id: at.id } }),
        });
        return { status: 200, body: { items: letters.map(view), nextCursor: next === undefined ? null : encodeCursor({ at: next.createdAt, id: next.id }) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/dead-letters/:id/replay',
      id: 'replayDeadLetter',
      tag: 'Signals',
      summary: 'Sends the signal behind a dead letter in again',
      description: 'It passes all layers again, under its old id and past the deduplication. A letter can be replayed once; a signal that fails again leaves a new one.',
      permission: 'signals:write',
      audit: 'dead-letter.replay',
      params: signalParams,
      responses: { 202: { description: 'Committed.', schema: z.object({ signals: z.array(z.uuid()) }) } },
      handler: async ({ caller, params }) => ({ status: 202, body: { signals: await replayDeadLetter(options, caller, params.id) } }),
    }),
  ];
}

function view(letter: DeadLetter): z.input<typeof deadLetterView> {
  return {
    id: letter.id,
    batch: letter.batchId,
    layer: letter.layer,
    ref: letter.ref,
    neuron: letter.neuronId,
    neuronVersion: letter.neuronVersion,
    failure: letter.failure,
    cause: letter.cause,
    createdAt: letter.createdAt.toISOString(),
    replayedAt: letter.replayedAt?.toISOString() ?? null,
  };
}
