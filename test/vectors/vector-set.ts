/** What came of one set of vectors. */
export interface SetOutcome {
  readonly total: number;
  readonly right: number;
  /** Names of the cases the product judges differently. */
  readonly wrong: readonly string[];
  /** Valid cases of a form that the product declines; not in `total`. */
  readonly leftOut?: number;
  /** Cases that contradict others or the rules of their own set, with the reason; not in `total`. */
  readonly disputed?: readonly string[];
}

export interface Verdict {
  readonly name: string;
  /** What the vector says must happen. */
  readonly expected: boolean;
  /** What the product does. */
  readonly accepted: boolean;
}

export function outcomeOf(verdicts: readonly Verdict[]): SetOutcome {
  const wrong = verdicts.filter(({ expected, accepted }) => expected !== accepted).map(({ name }) => name);
  return { total: verdicts.length, right: verdicts.length - wrong.length, wrong };
}
