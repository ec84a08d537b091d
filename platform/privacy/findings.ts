/**
 * What the comparison of annotations and schema found. A `refusal` stops an erasure before anything is destroyed; a
 * `warning` is for people to decide; a `note` says how something is handled.
 */
export type Severity = 'refusal' | 'warning' | 'note';

export interface Finding {
  readonly severity: Severity;
  /** Kebab-case, stable. */
  readonly code: string;
  readonly table: string | null;
  readonly column: string | null;
  readonly reason: string;
}

const SEVERITIES: readonly Severity[] = ['refusal', 'warning', 'note'];

/** Collects findings; the same one is kept once. */
export class Findings {
  readonly #all = new Map<string, Finding>();

  refuse(code: string, table: string | null, column: string | null, reason: string): void {
    this.#add({ severity: 'refusal', code, table, column, reason });
  }

  warn(code: string, table: string | null, column: string | null, reason: string): void {
    this.#add({ severity: 'warning', code, table, column, reason });
  }

  note(code: string, table: string | null, column: string | null, reason: string): void {
    this.#add({ severity: 'note', code, table, column, reason });
  }

  /** The gravest first, otherwise as they were found. */
  sorted(): Finding[] {
    return SEVERITIES.flatMap((severity) => [...this.#all.values()].filter((finding) => finding.severity === severity));
  }

  #add(finding: Finding): void {
    this.#all.set(JSON.stringify(finding), finding);
  }
}
