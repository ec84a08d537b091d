import { describe, expect, it } from 'vitest';
import type { WorkerRow } from '../../database/workers.ts';
import { connectionReport } from '../../platform/health/organisation.ts';
import { processReports } from '../../platform/health/processes.ts';

const NOW = new Date('2030-01-01T00:10:00Z');
const before = (seconds: number): Date => new Date(NOW.getTime() - seconds * 1000);

describe('background processes', () => {
  const worker = (pid: number, started: number, seen: number, process = 'core'): WorkerRow => ({ id: `m/${pid}/1`, process, host: 'm', pid, queues: ['core'], build: 'b', startedAt: before(started), lastSeen: before(seen) });
  const states = (...workers: WorkerRow[]): string[] => processReports(workers, NOW).map(({ name, state }) => `${name} ${state}`);

  it('are sick when silent, until another has taken their place', () => {
    expect(states(worker(1, 500, 100))).toEqual(['worker/core/m/1 unhealthy']);
    expect(states(worker(1, 500, 100), worker(2, 90, 1))).toEqual(['worker/core/m/2 healthy']);
  });

  it('are not replaced by one that was there before, by one of another kind, or by one that is silent too', () => {
    expect(states(worker(1, 500, 100), worker(2, 500, 1))).toEqual(['worker/core/m/1 unhealthy', 'worker/core/m/2 healthy']);
    expect(states(worker(1, 500, 100), worker(2, 90, 1, 'dispatcher'))).toContain('worker/core/m/1 unhealthy');
    expect(states(worker(1, 500, 100), worker(2, 90, 80))).toEqual(['worker/core/m/1 unhealthy', 'worker/core/m/2 unhealthy']);
  });
});

describe('a connection', () => {
  const last = (ago: number, failure: string | null) => ({ at: before(ago), failure });
  it('is as whatever came last left it', () => {
    const report = (test: ReturnType<typeof last> | null, use: ReturnType<typeof last> | null) => connectionReport({ name: 'c', test, use, updatedAt: before(900) });
    expect(report(last(60, null), last(30, 'Refused.'))).toMatchObject({ state: 'unhealthy', detail: 'Its last message failed: Refused.', since: before(30) });
    expect(report(last(20, null), last(30, 'Refused.'))).toMatchObject({ state: 'healthy', detail: 'Its last test succeeded.' });
    expect(report(last(20, 'Refused.'), null)).toMatchObject({ state: 'unhealthy', since: before(20) });
    expect(report(null, null)).toMatchObject({ state: 'healthy', since: before(900) });
  });
});
