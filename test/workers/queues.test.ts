import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { RegisteredActivities } from '../../activities/dependencies.ts';
import { defineOperation } from '../../schemas/operations/operation.ts';
import { servedQueues } from '../../workers/core/queues.ts';

const contract = (taskQueue: string) => defineOperation({ name: 'x', summary: 'x', input: z.null(), result: z.null(), taskQueue, timeouts: { execution: '1 minute' } });
const activity = () => Promise.resolve();
const registered: RegisteredActivities[] = [{ queues: { core: { a: activity }, 'neurons-l2': { evaluate: activity }, 'host-web-1': { act: activity } } }, { queues: { core: { b: activity } } }];

describe('queues of a core worker', () => {
  it('are those of contracts and activities, but not the machines\'', () => {
    const served = servedQueues([contract('special')], registered, []);
    expect(Object.fromEntries(served.map(({ queue, workflows, activities }) => [queue, [workflows, Object.keys(activities)]]))).toEqual({
      core: [true, ['a', 'b']],
      'core-interactive': [true, []],
      special: [true, []],
      'neurons-l2': [false, ['evaluate']],
    });
  });

  it('can be chosen, if they exist', () => {
    expect(servedQueues([], registered, ['neurons-l2']).map(({ queue }) => queue)).toEqual(['neurons-l2']);
    expect(() => servedQueues([], registered, ['neurons-l2', 'x', 'y'])).toThrow('no such queue x, y; there are core, core-interactive, neurons-l2');
  });

  it('hold an activity name once', () => {
    expect(() => servedQueues([], [...registered, { queues: { core: { a: activity } } }], [])).toThrow('the activity "a" is registered twice for the queue "core"');
  });
});
