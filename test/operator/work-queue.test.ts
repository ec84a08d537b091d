import { describe, expect, it } from 'vitest';
import { WorkQueue } from '../../deploy/operator/work-queue.ts';

describe('the work queue of the operator', () => {
  it('works on a key once at a time, and once more for whatever came meanwhile', async () => {
    const gate = Promise.withResolvers<void>();
    const begun: string[] = [];
    let [running, most] = [0, 0];
    const queue = new WorkQueue(async (key) => {
      begun.push(key);
      running += 1;
      most = Math.max(most, running);
      if (begun.length === 1) await gate.promise;
      running -= 1;
    }, () => undefined);
    queue.add('a');
    for (let again = 0; again < 5; again += 1) queue.add('a');
    gate.resolve();
    await expect.poll(() => begun).toEqual(['a', 'a']);
    await queue.close();
    queue.add('a');
    expect([begun.length, most]).toEqual([2, 1]);
  });

  it('works on other keys meanwhile, and tries a failed one again, ever later', async () => {
    const waits: number[] = [];
    const done = new Map<string, number>();
    const queue = new WorkQueue(
      async (key) => {
        done.set(key, (done.get(key) ?? 0) + 1);
        if (key === 'bad' && (done.get(key) ?? 0) < 3) throw new Error('not yet');
      },
      (_key, _error, retryMs) => waits.push(retryMs),
    );
    queue.add('bad');
    queue.add('good');
    await expect.poll(() => [...done]).toEqual([['bad', 3], ['good', 1]]);
    expect(waits).toEqual([250, 500]);
    await queue.close();
  });
});
