/**
 * Custom search attributes of every run. All are `Keyword`: SQL visibility stores ten of them and only three of
 * any other type. None may carry personal data.
 */
export const SEARCH_ATTRIBUTES = {
  /** Organisation that owns the run (a UUID). */
  orgId: 'OrgId',
  /** Name of the operation, e.g. `remediate`. */
  operation: 'Operation',
  /** What started the run: `api`, `decision`, `schedule`, `dispatcher`. */
  origin: 'Origin',
} as const;
