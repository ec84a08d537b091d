import { z } from 'zod';
import type { PrivacyTask } from '../../database/privacy-tasks.ts';
import type { PrivacyTasks } from '../../platform/privacy/tasks.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { privacyTask, privacyTaskEnd, privacyTaskTaken } from '../../schemas/rest/privacy-tasks.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Privacy';
const params = z.object({ id: z.uuid() });
const BY_MAKING = { position: BY_TIME.position, of: ({ createdAt, id }: { readonly createdAt: string; readonly id: string }) => ({ at: createdAt, id }) };

/** What people must do by hand for erasures and changes. */
export function createPrivacyTaskRoutes({ tasks }: { readonly tasks: PrivacyTasks }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/privacy/tasks',
      id: 'listPrivacyTasks',
      tag,
      summary: 'Lists what people must do by hand for erasures and changes',
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'Latest first, done ones too; without who they are about.', schema: pageOf(privacyTask) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_MAKING, async (limit, before) => (await tasks.list(caller, limit, before)).map(view)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/tasks/:id',
      id: 'getPrivacyTask',
      tag,
      summary: 'Reads what is to be done by hand',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'The task, without who it is about.', schema: privacyTask } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: view(await tasks.get(caller, id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/tasks/:id/take',
      id: 'takePrivacyTask',
      tag,
      summary: 'Takes a task over, and answers who it is about',
      description: 'The audit log says who was told.',
      permission: 'privacy:erase',
      audit: 'privacy-task.take',
      params,
      responses: { 200: { description: 'The task, now the caller\'s.', schema: privacyTaskTaken } },
      handler: async ({ caller, params: { id } }) => {
        const { task, identities, change } = await tasks.take(caller, id);
        return { status: 200, body: { ...view(task), change, identities: Object.fromEntries(Object.entries(identities).map(([kind, values]) => [kind, [...values]])) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/tasks/:id/end',
      id: 'endPrivacyTask',
      tag,
      summary: 'Says that a task is done, or why not',
      description: 'Its erasure or change looks again at once. That is not complete while a task is open or refused; a refused one may be taken again.',
      permission: 'privacy:erase',
      audit: 'privacy-task.end',
      params,
      body: privacyTaskEnd,
      responses: { 200: { description: 'The task; once it is done nobody knows any more who it was about.', schema: privacyTask } },
      handler: async ({ caller, params: { id }, body }) => ({ status: 200, body: view(await tasks.end(caller, id, body)) }),
    }),
  ];
}

function view({ id, erasureId, changeId, source, name, instructions, state, dueAt, takenBy, note, createdAt, endedAt }: PrivacyTask) {
  return { id, erasureId, changeId, source, name, instructions, state, dueAt: dueAt.toISOString(), takenBy, note, createdAt: createdAt.toISOString(), endedAt: endedAt?.toISOString() ?? null };
}
