import type { LabelledSeries } from './series.ts';

/** An incident that the replay opened, by event time. */
export interface SeriesIncident {
  /** `<group>/<file>`. */
  readonly series: string;
  readonly openedMs: number;
}

export interface SeriesScore {
  readonly series: string;
  readonly labelledWindows: number;
  readonly windowsFound: number;
  /** Incidents opened outside every window of their series, from its first row on: the warm-up gets no grace. */
  readonly falseIncidents: number;
}

/** Holds incidents against the labels of each series: a window is found when an incident opened inside it, both ends included. */
export function score(series: readonly LabelledSeries[], incidents: readonly SeriesIncident[]): SeriesScore[] {
  return series.map(({ name, windows }) => {
    const own = incidents.filter((incident) => incident.series === name);
    const inside = (openedMs: number, window: { fromMs: number; toMs: number }): boolean => openedMs >= window.fromMs && openedMs <= window.toMs;
    return {
      series: name,
      labelledWindows: windows.length,
      windowsFound: windows.filter((window) => own.some(({ openedMs }) => inside(openedMs, window))).length,
      falseIncidents: own.filter(({ openedMs }) => !windows.some((window) => inside(openedMs, window))).length,
    };
  });
}
