import Table from 'cli-table3';
import type { Incident } from './api.ts';
import type { FaultRecord, LiveResult } from './live.ts';
import type { ReplayResult } from './replay.ts';
import type { SeriesScore } from './score.ts';
import type { DemoSession } from './session.ts';

/** What was found, a row for each fault, and the incidents that belong to none. */
export function liveTable(faults: readonly FaultRecord[], falsely: readonly Incident[], result: LiveResult): string {
  const table = new Table({ head: ['Fault', 'Incident', 'When', 'Evidence', 'Decision', 'Operation'], colWidths: [18, 16, 12, 40, 24, 38], wordWrap: true, style: { head: [], border: [] } });
  for (const fault of faults) {
    table.push([
      fault.title,
      fault.incident === undefined ? 'none' : `${fault.incident.id.slice(0, 8)} ${fault.incident.cause ?? ''}`,
      fault.detectSeconds === undefined ? 'not found' : `${clock(fault.injectedAt)}, found after ${fault.detectSeconds.toFixed(1)} s`,
      fault.remedy?.reason ?? fault.decision?.reason ?? '',
      fault.decision?.summary ?? '',
      fault.remedy === undefined ? '' : `${fault.remedy.action ?? 'no action'}: ${fault.remedy.helped ? 'helped' : 'did not help'}${fault.remedy.escalated ? ', escalated' : ''}`,
    ]);
  }
  for (const incident of falsely) table.push(['no fault', `${incident.id.slice(0, 8)} ${incident.cause ?? ''}`, clock(Date.parse(incident.openedAt)), '', '', '']);
  const summary = `${result.signals} signals in ${result.cascades} cascades. ${result.faultsFound} of ${result.faultsInjected} faults found, ${result.faultsRemedied} remedied, ${result.falseIncidents} false incidents; half were found within ${result.detectP50Seconds ?? '-'} s.`;
  return `${table.toString()}\n${summary}`;
}

/** A row for each series. */
export function replayTable(scores: readonly SeriesScore[], result: ReplayResult): string {
  const table = new Table({ head: ['Series', 'Labelled windows', 'Found', 'False incidents'], style: { head: [], border: [] } });
  for (const one of scores) table.push([one.series, one.labelledWindows, one.windowsFound, one.falseIncidents]);
  return `${table.toString()}\n${result.signals} signals in ${result.cascades} cascades, ${result.seconds} s. ${result.windowsFound} of ${result.labelledWindows} windows found, ${result.falseIncidents} of ${result.incidents} incidents false.`;
}

/** Where to look on. */
export function addresses({ stack, apiKey }: DemoSession): string {
  return [
    `API and its documentation: ${stack.url}/docs`,
    ...(stack.temporalUiUrl === undefined ? [] : [`Temporal UI:               ${stack.temporalUiUrl}`]),
    `  export HAL9_URL=${stack.url} HAL9_API_KEY=${apiKey}`,
  ].join('\n');
}

function clock(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(11, 19);
}
