import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from 'simple-statistics';
import { HOST_NEURONS } from '../../../neurons/catalogue/host.ts';
import type { RemediateResult } from '../../../schemas/operations/remediate.ts';
import type { Decision, Incident } from './api.ts';
import { faultsOf, type Fault } from './fault.ts';
import type { Progress } from './progress.ts';
import type { DemoSession } from './session.ts';

/** What became of one fault. */
export interface FaultRecord {
  readonly cause: string;
  readonly title: string;
  readonly injectedAt: number;
  /** Until when an incident belongs to it; open while it lasts. */
  endedAt: number | undefined;
  incident: Incident | undefined;
  /** Seconds from its start until an incident named its cause. */
  detectSeconds: number | undefined;
  decision: Decision | undefined;
  remedy: RemediateResult | undefined;
  /** Whether the demo saw for itself that it is gone before it cleaned up. */
  gone: boolean;
}

export interface LiveResult {
  readonly signals: number;
  readonly cascades: number;
  readonly decisions: number;
  readonly incidents: number;
  readonly faultsInjected: number;
  readonly faultsFound: number;
  readonly faultsRemedied: number;
  readonly falseIncidents: number;
  readonly detectP50Seconds: number | null;
  readonly seconds: number;
}

export const LIVE_NEURONS = HOST_NEURONS;

const LOOK_MS = 300;
/** Longest a fault is left to HAL9, milliseconds. */
const FAULT_MS = 60_000;
/** How long the echo of a fault may still raise incidents of its own, milliseconds. */
const ECHO_MS = 15_000;
/** Longest wait for an incident to close before the next fault, milliseconds. */
const CLOSE_MS = 40_000;

export interface LiveOptions {
  readonly baselineSeconds: number;
  /** Only the faults with these causes; empty for all. */
  readonly causes: readonly string[];
}

/** A quiet baseline, then one fault after the other, each left to HAL9. */
export async function runLive(session: DemoSession, options: LiveOptions, progress: Progress, signal: AbortSignal): Promise<{ faults: FaultRecord[]; result: LiveResult; falsely: Incident[] }> {
  const startedAt = Date.now();
  const faults = faultsOf(session.stack, session.folder).filter((fault) => options.causes.length === 0 || options.causes.includes(fault.cause));
  const records: FaultRecord[] = [];
  const share = 100 / (faults.length + 1);
  try {
    await baseline(options.baselineSeconds, progress, share, signal);
    for (const [index, fault] of faults.entries()) {
      const done = share * (index + 1);
      records.push(await runFault(session, fault, (task) => progress.update(done, task), signal));
      progress.update(done + share / 2, `${fault.title}: over; waiting until it is quiet`);
      await untilQuiet(session, signal);
      await sleep(randomInt(1000, 4000), undefined, { signal });
    }
  } finally {
    await Promise.all(faults.map((fault) => fault.cleanUp()));
  }
  const [incidents, decisions, cascades, signals] = await Promise.all([session.api.incidents(), session.api.decisions(), session.api.countRuns('cascade'), session.api.countSignals()]);
  const falsely = incidents.filter((incident) => !records.some((record) => belongs(incident, record)));
  const seconds = records.flatMap((record) => record.detectSeconds ?? []);
  return {
    faults: records,
    falsely,
    result: {
      signals,
      cascades,
      decisions: decisions.length,
      incidents: incidents.length,
      faultsInjected: records.length,
      faultsFound: records.filter((record) => record.detectSeconds !== undefined).length,
      faultsRemedied: records.filter((record) => record.remedy?.helped === true && record.remedy.action !== null && record.gone).length,
      falseIncidents: falsely.length,
      detectP50Seconds: seconds.length === 0 ? null : Math.round(median(seconds) * 10) / 10,
      seconds: Math.round((Date.now() - startedAt) / 100) / 10,
    },
  };
}

async function baseline(seconds: number, progress: Progress, share: number, signal: AbortSignal): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    progress.update((share * second) / seconds, 'quiet baseline: the neurons learn what is usual');
    await sleep(1000, undefined, { signal });
  }
}

async function runFault({ api }: DemoSession, fault: Fault, report: (task: string) => void, signal: AbortSignal): Promise<FaultRecord> {
  const record: FaultRecord = { cause: fault.cause, title: fault.title, injectedAt: Date.now(), endedAt: undefined, incident: undefined, detectSeconds: undefined, decision: undefined, remedy: undefined, gone: false };
  report(`${fault.title}: begins`);
  await fault.inject();
  const deadline = record.injectedAt + FAULT_MS;
  while (Date.now() < deadline && !(record.gone && record.remedy !== undefined)) {
    await sleep(LOOK_MS, undefined, { signal });
    record.gone = await fault.isGone();
    if (record.incident === undefined) {
      record.incident = (await api.incidents()).find((incident) => incident.cause === fault.cause && lastsInto(incident, record));
      if (record.incident === undefined) continue;
      record.detectSeconds = (Date.now() - record.injectedAt) / 1000;
      report(`${fault.title}: found after ${record.detectSeconds.toFixed(1)} s`);
    }
    const { incident } = record;
    // Until its effect has left, a decision has no run yet.
    if (typeof record.decision?.runId !== 'string') record.decision = (await api.decisions()).find((decision) => decision.incidentId === incident.id && decision.cause === fault.cause);
    const runId = record.decision?.runId;
    if (typeof runId === 'string') {
      report(`${fault.title}: ${runId} mends it`);
      record.remedy ??= await api.remedy(runId);
    }
  }
  record.gone = await fault.isGone();
  record.endedAt = Date.now();
  await fault.cleanUp();
  return record;
}

/** Until no incident is open, so that the next fault gets one of its own. */
async function untilQuiet({ api }: DemoSession, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + CLOSE_MS;
  while (Date.now() < deadline && (await api.incidents()).some((incident) => incident.state !== 'closed')) await sleep(LOOK_MS * 3, undefined, { signal });
}

/** Whether the incident was opened, or taken over, while the fault lasts. */
function lastsInto(incident: Incident, record: FaultRecord): boolean {
  return incident.state !== 'closed' || Date.parse(incident.openedAt) >= record.injectedAt;
}

function belongs(incident: Incident, record: FaultRecord): boolean {
  const opened = Date.parse(incident.openedAt);
  return incident.id === record.incident?.id || (opened >= record.injectedAt - 1000 && opened <= (record.endedAt ?? Infinity) + ECHO_MS);
}
