import type { ScheduleFiring, StoredSchedule } from '../../database/schedules.ts';
import type { Schedules, ScheduleView } from '../../platform/schedules/schedules.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { scheduleBackfillBody, scheduleDetail, scheduleFiringView, scheduleParams, schedulePauseBody, scheduleTriggerBody, scheduleView } from '../../schemas/rest/schedules.ts';
import { scheduleDraftSchema } from '../../schemas/schedules/definition.ts';
import { BY_DRAFT_NAME, BY_TIME, READABLE, pageOfList, pageOfReadable } from '../page.ts';
import { IF_MATCH, ifMatch } from '../if-match.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

const tag = 'Schedules';
const found = { 200: { description: 'The schedule.', schema: scheduleDetail } };

/** Schedules: what happens at its time. */
export function createScheduleRoutes({ schedules }: { schedules: Schedules }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/schedules',
      id: 'listSchedules',
      tag,
      summary: 'Lists schedules by name',
      permission: 'schedules:read',
      access: READABLE,
      query: pageQuery,
      responses: { 200: { description: 'A page of schedules.', schema: pageOf(scheduleView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfReadable(caller, 'schedules:read', query, BY_DRAFT_NAME, (limit, after) => schedules.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/schedules',
      id: 'createSchedule',
      tag,
      summary: 'Creates a schedule',
      description: 'Whoever creates it needs the permission for what it starts and becomes its owner.',
      permission: 'schedules:write',
      audit: 'schedule.create',
      body: scheduleDraftSchema,
      responses: { 201: { description: 'The schedule.', schema: scheduleDetail } },
      handler: async ({ caller, body }) => detail(201, await schedules.create(caller, body)),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/schedules/:id',
      id: 'getSchedule',
      tag,
      summary: 'Reads a schedule with its next fire times',
      permission: 'schedules:read',
      params: scheduleParams,
      responses: found,
      handler: async ({ caller, params }) => detail(200, await schedules.get(caller, params.id)),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/schedules/:id',
      id: 'replaceSchedule',
      tag,
      summary: 'Replaces a schedule',
      description: 'The caller becomes its owner; a pause by HAL9 ends, one by a person stays. With `If-Match: "<version>"` only if nobody changed it meanwhile.',
      permission: 'schedules:write',
      audit: 'schedule.update',
      params: scheduleParams,
      headers: IF_MATCH,
      body: scheduleDraftSchema,
      responses: found,
      handler: async ({ caller, params, body, request }) => detail(200, await schedules.replace(caller, params.id, ifMatch(request.headers['if-match']), body)),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/schedules/:id',
      id: 'deleteSchedule',
      tag,
      summary: 'Removes a schedule',
      description: 'Runs it started go on.',
      permission: 'schedules:write',
      audit: 'schedule.delete',
      params: scheduleParams,
      responses: { 204: { description: 'It is gone.' } },
      handler: async ({ caller, params }) => {
        await schedules.remove(caller, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/schedules/:id/pause',
      id: 'pauseSchedule',
      tag,
      summary: 'Pauses a schedule',
      description: 'Open runs go on. The note stays in HAL9.',
      permission: 'schedules:write',
      audit: 'schedule.pause',
      params: scheduleParams,
      body: schedulePauseBody.prefault({}),
      responses: found,
      handler: async ({ caller, params, body }) => detail(200, await schedules.pause(caller, params.id, body.note)),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/schedules/:id/unpause',
      id: 'unpauseSchedule',
      tag,
      summary: 'Lets a paused schedule go on',
      description: 'The caller needs the permission for what it starts and becomes its owner. What was due meanwhile is not made up for; see backfill.',
      permission: 'schedules:write',
      audit: 'schedule.unpause',
      params: scheduleParams,
      responses: found,
      handler: async ({ caller, params }) => detail(200, await schedules.unpause(caller, params.id)),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/schedules/:id/trigger',
      id: 'triggerSchedule',
      tag,
      summary: 'Fires a schedule now',
      description: 'With the rights of its owner, paused or not, whatever its limit.',
      permission: 'schedules:write',
      audit: 'schedule.trigger',
      params: scheduleParams,
      body: scheduleTriggerBody.prefault({}),
      responses: { 202: { description: 'It fires; see its firings.' } },
      handler: async ({ caller, params, body }) => {
        await schedules.trigger(caller, params.id, body.overlap);
        return { status: 202 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/schedules/:id/backfill',
      id: 'backfillSchedule',
      tag,
      summary: 'Makes up for a span that has passed',
      description: 'Fires once for every time of the span, oldest first.',
      permission: 'schedules:write',
      audit: 'schedule.backfill',
      params: scheduleParams,
      body: scheduleBackfillBody,
      responses: { 202: { description: 'It fires; see its firings.' } },
      handler: async ({ caller, params, body }) => {
        await schedules.backfill(caller, params.id, { from: new Date(body.from), to: new Date(body.to), overlap: body.overlap });
        return { status: 202 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/schedules/:id/firings',
      id: 'listScheduleFirings',
      tag,
      summary: 'Lists what a schedule did, newest first',
      permission: 'schedules:read',
      params: scheduleParams,
      query: pageQuery,
      responses: { 200: { description: 'A page of firings.', schema: pageOf(scheduleFiringView) } },
      handler: async ({ caller, params, query }) => {
        const { items, nextCursor } = await pageOfList(query, BY_TIME, (limit, before) => schedules.firings(caller, params.id, limit, before));
        return { status: 200, body: { items: items.map(firing), nextCursor } };
      },
    }),
  ];
}

function view({ id, version, appliedVersion, problem, draft, owner, pausedAt, pausedBy, note, createdAt, updatedAt }: StoredSchedule) {
  return {
    ...draft,
    id,
    version,
    owner: { kind: owner.kind, id: owner.id },
    paused: pausedAt === null ? null : { at: pausedAt, by: pausedBy, note: note ?? '' },
    applied: appliedVersion === version,
    problem,
    createdAt,
    updatedAt,
  };
}

function detail(status: number, { schedule, times }: ScheduleView): RouteAnswer {
  return { status, body: { ...view(schedule), times: times === null ? null : timesView(times) }, headers: { etag: `"${String(schedule.version)}"`, ...(status === 201 ? { Location: `/v1/schedules/${schedule.id}` } : {}) } };
}

function timesView({ next, remaining, running, taken, missedCatchUp, skippedOverlap }: NonNullable<ScheduleView['times']>) {
  return { next, remaining, running, taken, missedCatchUp, skippedOverlap };
}

function firing({ id, dueAt, state, reason, runId, emittedKey, createdAt, doneAt }: ScheduleFiring) {
  return { id, dueAt, state, reason, runId, emitted: emittedKey, createdAt, doneAt };
}
