import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../../database/run-events.ts';
import { stepsOf } from '../../platform/traces/steps.ts';

const at = (second: number): Date => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
const events = (...list: readonly [type: RunEvent['type'], second: number, data?: Readonly<Record<string, unknown>>][]): RunEvent[] => list.map(([type, second, data = {}], index) => ({ seq: index + 1, type, at: at(second), data }));
const said = (list: ReturnType<typeof stepsOf>) => list.map(({ id, title, state, durationMs, failure }) => [id, title, state, durationMs, failure]);

describe('the steps of a run', () => {
  it('last until the next one is reported; reports within a step are none', () => {
    const list = stepsOf('greet~1', events(['started', 0], ['progress', 1, { step: 'look', done: 0 }], ['progress', 2, { step: 'look', done: 1 }], ['progress', 4, { step: 'act', done: 2 }], ['closed', 9, { status: 'completed' }]));
    expect(said(list)).toEqual([['greet~1#2', 'look', 'completed', 3000, null], ['greet~1#4', 'act', 'completed', 5000, null]]);
  });

  it('end as the run ends, with its failure; an open one has no end', () => {
    expect(said(stepsOf('greet~1', events(['progress', 1, { step: 'look' }], ['closed', 2, { status: 'failed', failure: 'Broken' }])))).toEqual([['greet~1#1', 'look', 'failed', 1000, 'Broken']]);
    expect(said(stepsOf('greet~1', events(['progress', 1, { step: 'look' }])))).toEqual([['greet~1#1', 'look', 'running', null, null]]);
  });

  it('show pauses beside what was held, and replays', () => {
    const list = stepsOf('greet~1', events(['progress', 1, { step: 'look' }], ['paused', 2], ['resumed', 5], ['closed', 6, { status: 'failed' }], ['replayed', 7], ['progress', 8, { step: 'look' }], ['closed', 9, { status: 'completed' }]));
    expect(said(list)).toEqual([['greet~1#1', 'look', 'failed', 5000, null], ['greet~1#2', 'paused', 'completed', 3000, null], ['greet~1#5', 'replayed', 'completed', 0, null], ['greet~1#6', 'look', 'completed', 1000, null]]);
  });
});
