import type { Database } from '../../database/database.ts';
import { EvidenceStore, type EvidenceRecord } from '../../database/evidence.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Caller } from '../identity/caller.ts';
import { CONTROLS, type Control } from './controls.ts';

const DAY_MS = 86_400_000;
/** Longest period, days. */
const LONGEST = 800;

/** A span of days, both inclusive, `YYYY-MM-DD`. */
export interface Span {
  readonly from: string;
  readonly to: string;
}

/** How a control stands in a period. */
export interface ControlStanding {
  readonly control: Control;
  /** `shown-by-tests` for controls that no query shows. */
  readonly state: 'passing' | 'failing' | 'not-collected' | 'shown-by-tests';
  readonly last: EvidenceRecord | undefined;
  /** Days of the period with evidence, days there are, spans without any, and spans with some that did not pass; null where no query shows it. */
  readonly coverage: { readonly covered: number; readonly days: number; readonly gaps: readonly Span[]; readonly failures: readonly Span[] } | null;
}

/** The control map with what was collected for it. */
export class Compliance {
  readonly #evidence: EvidenceStore;

  constructor(database: Database) {
    this.#evidence = new EvidenceStore(database);
  }

  /**
   * @param from first day, `to` day after the last; both at midnight UTC.
   * @throws {HalError} InvalidInput when the period is empty or longer than 800 days.
   */
  async standing(caller: Pick<Caller, 'orgId'>, from: Date, to: Date): Promise<ControlStanding[]> {
    const days = Math.round((to.getTime() - from.getTime()) / DAY_MS);
    if (days < 1 || days > LONGEST) throw new HalError('InvalidInput', 'the period is empty or too long', { errors: [{ path: '/query/to', message: `after \`from\`, by at most ${LONGEST} days` }] });
    const { latest, days: collected } = await this.#evidence.overview(caller.orgId, from, to);
    const all = Array.from({ length: days }, (_, index) => new Date(from.getTime() + index * DAY_MS).toISOString().slice(0, 10));
    return CONTROLS.map((control) => {
      if (control.queries.length === 0) return { control, state: 'shown-by-tests', last: undefined, coverage: null };
      const last = latest.find((record) => record.control === control.id);
      const own = new Map(collected.filter((row) => row.control === control.id).map((row) => [row.day, row]));
      return {
        control,
        state: last === undefined ? 'not-collected' : last.result === 'passed' ? 'passing' : 'failing',
        last,
        coverage: { covered: own.size, days, gaps: spansOf(all, (day) => !own.has(day)), failures: spansOf(all, (day) => (own.get(day)?.failed ?? 0) > 0) },
      };
    });
  }

  /** Evidence of a control, newest first. @throws {HalError} NotFound. */
  async evidenceOf(caller: Pick<Caller, 'orgId'>, id: string, limit: number, before?: Date): Promise<EvidenceRecord[]> {
    if (!CONTROLS.some((control) => control.id === id)) throw new HalError('NotFound', 'no such control');
    return this.#evidence.list(caller.orgId, id, limit, before);
  }
}

/** The days of which something holds, neighbours together. */
function spansOf(days: readonly string[], holds: (day: string) => boolean): Span[] {
  const spans: { from: string; to: string }[] = [];
  let open: { from: string; to: string } | undefined;
  for (const day of days) {
    if (!holds(day)) open = undefined;
    else if (open === undefined) spans.push((open = { from: day, to: day }));
    else open.to = day;
  }
  return spans;
}
