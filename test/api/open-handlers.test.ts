import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OpenHandlers, type OpenHandler } from '../../api/open-handlers.ts';
import type { HalError } from '../../schemas/errors.ts';

const SECOND_MS = 1000;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('handlers that have not answered yet', () => {
  it('go on while their credential allows it', async () => {
    expect(await endOf({ stillAllowed: async () => true })).toBeUndefined();
  });

  it('end as unauthenticated within a second once it does not', async () => {
    expect(await endOf({ stillAllowed: async () => false })).toMatchObject({ type: 'Unauthenticated' });
  });

  it('end as a dependency that does not answer when the credential cannot be looked up, so that clients come again', async () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED', syscall: 'connect' });
    expect(await endOf({ stillAllowed: () => Promise.reject(refused) })).toMatchObject({ type: 'DependencyUnavailable' });
  });

  it('end when their time is up', async () => {
    expect(await endOf({ until: performance.now() + SECOND_MS / 2, limitMs: SECOND_MS / 2 })).toMatchObject({ type: 'Timeout' });
  });

  it('are told apart when they answer in another order than they came', async () => {
    const open = new OpenHandlers();
    const ended: HalError[][] = [[], [], [], []];
    const handlers = ended.map((reasons) => handlerOf({ stillAllowed: async () => false }, reasons));
    for (const handler of handlers) open.add(handler);
    for (const index of [1, 0, 0]) open.remove(handlers[index]!);
    await vi.advanceTimersByTimeAsync(SECOND_MS / 2);
    expect(ended.map((reasons) => reasons.length > 0)).toEqual([false, false, true, true]);
  });

  it('are left alone after they answered', async () => {
    const open = new OpenHandlers();
    const ended: HalError[] = [];
    const answered = handlerOf({ stillAllowed: async () => false }, ended);
    open.add(answered);
    open.remove(answered);
    await vi.advanceTimersByTimeAsync(SECOND_MS);
    expect(ended).toEqual([]);
  });
});

/** How a handler was ended in its first second; undefined when it was not. */
async function endOf(changes: Partial<OpenHandler>): Promise<HalError | undefined> {
  const open = new OpenHandlers();
  const ended: HalError[] = [];
  open.add(handlerOf(changes, ended));
  await vi.advanceTimersByTimeAsync(SECOND_MS);
  return ended[0];
}

function handlerOf(changes: Partial<OpenHandler>, ended: HalError[]): OpenHandler {
  return { place: -1, until: Number.POSITIVE_INFINITY, limitMs: 0, stillAllowed: undefined, gone: () => false, end: (reason) => ended.push(reason), ...changes };
}
