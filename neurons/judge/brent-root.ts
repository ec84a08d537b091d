/** Where a function stands at a point. */
interface Point {
  readonly x: number;
  readonly y: number;
}

/** Steps are bounded by bisection; the bound only ends functions that answer NaN. */
const MAX_STEPS = 1000;

/**
 * Root of a function within an interval at whose ends it has different signs: bisection made faster by linear and inverse quadratic
 * interpolation; Brent, "Algorithms for Minimization without Derivatives" (1973), chapter 4. On a step function, as rank statistics are, it ends
 * beside the step, no farther than `tolerance`.
 * @param tolerance absolute, in units of x. It is part of the result where the interval is hardly wider: then the better end is answered.
 */
export function brentRoot(of: (x: number) => number, low: number, high: number, tolerance: number): number {
  let before: Point = { x: low, y: of(low) };
  let best: Point = { x: high, y: of(high) };
  let opposite = before;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const moved = best.x - before.x;
    if (Math.abs(opposite.y) < Math.abs(best.y)) {
      before = best;
      best = opposite;
      opposite = before;
    }
    const near = 2 * Number.EPSILON * Math.abs(best.x) + tolerance / 2;
    const half = (opposite.x - best.x) / 2;
    if (Math.abs(half) <= near || best.y === 0) return best.x;
    const guess = Math.abs(moved) >= near && Math.abs(before.y) > Math.abs(best.y) ? interpolated(before, best, opposite, moved, near) : undefined;
    const wanted = guess ?? half;
    const length = Math.abs(wanted) < near ? Math.sign(wanted || 1) * near : wanted;
    before = best;
    const x = best.x + length;
    best = { x, y: of(x) };
    if (Math.sign(best.y) === Math.sign(opposite.y)) opposite = before;
  }
  return best.x;
}

/** Step towards the root by interpolation; undefined where it would leave the interval or gain too little. */
function interpolated(before: Point, best: Point, opposite: Point, moved: number, near: number): number | undefined {
  const width = opposite.x - best.x;
  const fall = best.y / before.y;
  let rise: number;
  let run: number;
  if (before.x === opposite.x) {
    rise = width * fall;
    run = 1 - fall;
  } else {
    const far = before.y / opposite.y;
    const close = best.y / opposite.y;
    rise = fall * (width * far * (far - close) - (best.x - before.x) * (close - 1));
    run = (far - 1) * (close - 1) * (fall - 1);
  }
  if (rise > 0) run = -run;
  else rise = -rise;
  return rise < 0.75 * width * run - Math.abs(near * run) / 2 && rise < Math.abs((moved * run) / 2) ? rise / run : undefined;
}
