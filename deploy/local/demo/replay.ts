import { setTimeout as sleep } from 'node:timers/promises';
import { REPLAY_NEURONS, SERIES_VALUE_TYPE } from '../../../neurons/catalogue/replay.ts';
import type { Signal } from '../../../schemas/signals/signal.ts';
import type { DemoApi, Incident } from './api.ts';
import type { Progress } from './progress.ts';
import { score, type SeriesScore } from './score.ts';
import type { LabelledSeries } from './series.ts';

export interface ReplayResult {
  readonly signals: number;
  readonly cascades: number;
  readonly decisions: number;
  readonly incidents: number;
  readonly labelledWindows: number;
  readonly windowsFound: number;
  readonly falseIncidents: number;
  readonly seconds: number;
}

export { REPLAY_NEURONS };

const SOURCE = 'series/';
/** Signals of one request; their ids all come back. */
const BATCH = 1000;
/** Series sent at the same time; each keeps its order. */
const AT_ONCE = 4;
/** Longest time without progress, milliseconds. */
const STALL_MS = 180_000;

/** Sends every series through ingest, waits until the last signal of each is decided, and holds the incidents against the labels. */
export async function runReplay(api: DemoApi, series: readonly LabelledSeries[], progress: Progress, signal: AbortSignal): Promise<{ result: ReplayResult; scores: SeriesScore[] }> {
  const startedAt = Date.now();
  const total = series.reduce((sum, { rows }) => sum + rows.length, 0);
  let sent = 0;
  const last = new Map<string, string>();
  const queue = [...series];
  const sendNext = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (let from = 0; from < next.rows.length; from += BATCH) {
        const batch = signalsOf(next, from);
        const receipt = await api.send(batch);
        if (receipt.rejectedCount > 0) throw new Error(`${next.name}: the API refused ${receipt.rejectedCount} rows: ${JSON.stringify(receipt.rejected[0]?.errors)}`);
        const id = receipt.ids.at(-1);
        if (id !== undefined) last.set(next.name, id);
        sent += batch.length;
        progress.update((70 * sent) / total, `sending ${series.length} series`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sendNext));
  await untilDecided(api, [...last.values()], (done) => progress.update(70 + (30 * done) / last.size, 'waiting until everything is decided'), signal);
  const [incidents, decisions, cascades] = await Promise.all([api.incidents(), api.decisions(), api.countRuns('cascade')]);
  const scores = score(series, incidents.map(seriesIncident));
  const sum = (of: (one: SeriesScore) => number): number => scores.reduce((all, one) => all + of(one), 0);
  return {
    scores,
    result: {
      signals: total,
      cascades,
      decisions: decisions.length,
      incidents: incidents.length,
      labelledWindows: sum((one) => one.labelledWindows),
      windowsFound: sum((one) => one.windowsFound),
      falseIncidents: sum((one) => one.falseIncidents),
      seconds: Math.round((Date.now() - startedAt) / 100) / 10,
    },
  };
}

/** The id is the row's number: files repeat timestamps. */
function signalsOf({ name, rows }: LabelledSeries, from: number): Signal[] {
  return rows.slice(from, from + BATCH).map((row, offset) => ({
    specversion: '1.0',
    id: String(from + offset),
    source: `${SOURCE}${name}`,
    type: SERIES_VALUE_TYPE,
    subject: name,
    time: new Date(row.timeMs).toISOString(),
    data: { value: row.value },
  }));
}

async function untilDecided(api: DemoApi, ids: readonly string[], report: (done: number) => void, signal: AbortSignal): Promise<void> {
  const open = new Set(ids);
  let moved = Date.now();
  while (open.size > 0) {
    for (const id of open) {
      const state = await api.signalState(id);
      if (state === 'pending') continue;
      if (state === 'failed') throw new Error(`the signal ${id} could not be worked off`);
      open.delete(id);
      moved = Date.now();
    }
    report(ids.length - open.size);
    if (Date.now() - moved > STALL_MS) throw new Error(`${open.size} series are not decided after ${STALL_MS / 1000} s without progress`);
    if (open.size > 0) await sleep(500, undefined, { signal });
  }
}

function seriesIncident(incident: Incident): { series: string; openedMs: number } {
  return { series: (incident.subject ?? '').replace(SOURCE, ''), openedMs: Date.parse(incident.openedAt) };
}
