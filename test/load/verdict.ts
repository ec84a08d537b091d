import { z } from 'zod';
import type { MachineFacts } from './machine.ts';

/** What is compared between runs. */
const figuresSchema = z.object({ kneePerSecond: z.number(), readP50Ms: z.number(), readP95Ms: z.number(), apiCpuMsPerRequest: z.number() });
export type Figures = z.output<typeof figuresSchema>;

const baselineSchema = z.object({
  machine: z.object({ processors: z.number(), model: z.string(), memoryGiB: z.number() }),
  users: z.number(),
  /** Oldest first. */
  runs: z.array(figuresSchema),
});
export type Baseline = z.output<typeof baselineSchema>;

/** One for each kind of machine and number of users. */
export const baselinesSchema = z.array(baselineSchema);

type Compared = Pick<Baseline, 'machine' | 'users'>;

/** Whether runs of both can be compared: as many processors of one model, as many users. */
export function isComparable(one: Compared, other: Compared): boolean {
  return one.machine.processors === other.machine.processors && one.machine.model === other.machine.model && one.users === other.users;
}

export interface Verdict {
  readonly verdict: 'as before' | 'faster' | 'regressed' | 'not judged';
  /** Why it was not judged, or what moved. */
  readonly because: readonly string[];
}

/** Change that is never told from noise, however alike the earlier runs were. */
const FLOOR = 0.25;
/** Standard deviations of the earlier runs that a change must exceed. */
const DEVIATIONS = 3;
/** 1.4826 median absolute deviations are one standard deviation of normal noise. */
const MAD_TO_SIGMA = 1.4826;
/** Share of the processors that other work may take. */
const QUIET = 0.15;

/** What reads at half the knee are to take, milliseconds. */
export const TARGET: Readonly<Pick<Figures, 'readP50Ms' | 'readP95Ms'>> = { readP50Ms: 10, readP95Ms: 100 };

export function isWithinTarget({ readP50Ms, readP95Ms }: Figures): boolean {
  return readP50Ms < TARGET.readP50Ms && readP95Ms < TARGET.readP95Ms;
}

/** Whether a run can be compared with others. @param foreign share of the processors that other work took meanwhile, 0 to 1. */
export function isQuiet(foreign: number): boolean {
  return foreign <= QUIET;
}

/** Where less is better. */
const LESS_IS_BETTER: Readonly<Record<keyof Figures, boolean>> = { kneePerSecond: false, readP50Ms: true, readP95Ms: true, apiCpuMsPerRequest: true };

/**
 * Compares with the median of earlier runs, allowing three of their standard deviations and never less than a quarter.
 * @param foreign share of the processors that other work took meanwhile, 0 to 1.
 */
export function judge(figures: Figures, baselines: readonly Baseline[], run: { readonly machine: MachineFacts; readonly users: number; readonly foreign: number }): Verdict {
  const { machine, users, foreign } = run;
  const baseline = baselines.find((other) => other.runs.length > 0 && isComparable(other, run));
  if (baseline === undefined) return { verdict: 'not judged', because: [`there is no baseline of ${users} users on ${machine.processors} x ${machine.model}; --save makes one`] };
  if (!isQuiet(foreign)) return { verdict: 'not judged', because: [`other work took ${Math.round(foreign * 100)} % of the processors`] };
  const moved = (Object.keys(LESS_IS_BETTER) as (keyof Figures)[]).map((name) => ({ name, ...change(figures[name], baseline.runs.map((earlier) => earlier[name]), LESS_IS_BETTER[name]) }));
  const worse = moved.filter(({ by, allowed }) => by > allowed);
  const better = moved.filter(({ by, allowed }) => by < -allowed);
  const tell = ({ name, before, by, allowed }: (typeof moved)[number]): string => `${name} ${figures[name].toFixed(2)} against ${before.toFixed(2)}: ${Math.round(Math.abs(by) * 100)} % ${by > 0 ? 'worse' : 'better'}, ${Math.round(allowed * 100)} % are noise`;
  if (worse.length > 0) return { verdict: 'regressed', because: worse.map(tell) };
  return better.length > 0 ? { verdict: 'faster', because: better.map(tell) } : { verdict: 'as before', because: [] };
}

/** `by` and `allowed` as shares of the median of the earlier runs; positive is worse. */
function change(now: number, earlier: readonly number[], lessIsBetter: boolean): { before: number; by: number; allowed: number } {
  const before = median(earlier);
  const sigma = median(earlier.map((value) => Math.abs(value - before))) * MAD_TO_SIGMA;
  const by = (now - before) / before;
  return { before, by: lessIsBetter ? by : -by, allowed: Math.max(FLOOR, (DEVIATIONS * sigma) / before) };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? (sorted[Math.floor(middle)] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
