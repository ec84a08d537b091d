/** A calendar month in UTC. */
export interface Month {
  /** `YYYY-MM`. */
  readonly name: string;
  readonly from: Date;
  /** Begin of the next. */
  readonly to: Date;
}

export function monthOf(at: Date): Month {
  const [year, month] = [at.getUTCFullYear(), at.getUTCMonth()];
  const from = new Date(Date.UTC(year, month, 1));
  return { name: from.toISOString().slice(0, 7), from, to: new Date(Date.UTC(year, month + 1, 1)) };
}

/** @param name `YYYY-MM`. */
export function monthNamed(name: string): Month {
  return monthOf(new Date(`${name}-01T00:00:00Z`));
}

/** Straight on from what was used so far to the end of the month; the first hour counts as whole. */
export function projected(used: number, month: Month, now: Date): number {
  const whole = month.to.getTime() - month.from.getTime();
  const elapsed = Math.min(whole, Math.max(3_600_000, now.getTime() - month.from.getTime()));
  return Math.round((used * whole) / elapsed);
}
