import type { Freeze } from '../../schemas/operations/rollout.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const DAY_MINUTES = 1440;

/**
 * The freeze that holds at a time and ends last; null without one. A weekly one that ends before it begins runs into the next day.
 * @throws {RangeError} for a time zone nobody knows.
 */
export function freezeAt(calendar: readonly Freeze[], at: Date): { until: string; reason: string } | null {
  const held = calendar.flatMap((freeze) => {
    const until = endOf(freeze, at);
    return until === undefined ? [] : [{ until: until.toISOString(), reason: freeze.reason }];
  });
  return held.toSorted((one, other) => other.until.localeCompare(one.until))[0] ?? null;
}

function endOf(freeze: Freeze, at: Date): Date | undefined {
  if (freeze.kind === 'dates') return at >= new Date(freeze.from) && at < new Date(freeze.until) ? new Date(freeze.until) : undefined;
  const { day, minute } = localTime(at, freeze.timeZone);
  const [from, until] = [minutesOf(freeze.from), minutesOf(freeze.until)];
  const isOn = (offset: number): boolean => freeze.days.some((name) => DAYS.indexOf(name) === (day + offset + 7) % 7);
  const left = (end: number): Date => new Date(at.getTime() + (end - minute) * 60_000);
  if (from < until) return isOn(0) && minute >= from && minute < until ? left(until) : undefined;
  if (isOn(0) && minute >= from) return left(until + DAY_MINUTES);
  return isOn(-1) && minute < until ? left(until) : undefined;
}

function localTime(at: Date, timeZone: string): { day: number; minute: number } {
  const parts = new Intl.DateTimeFormat('en-US', { timeZone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).formatToParts(at);
  const part = (type: string): string => parts.find((one) => one.type === type)?.value ?? '';
  return { day: DAYS.findIndex((name) => name === part('weekday').toLowerCase()), minute: Number(part('hour')) * 60 + Number(part('minute')) };
}

function minutesOf(clock: string): number {
  const [hours = 0, minutes = 0] = clock.split(':').map(Number);
  return hours * 60 + minutes;
}
