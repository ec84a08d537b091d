/**
 * Something about this machine keeps HAL9 from starting, and the user can mend it. The message is one sentence that says
 * what is wrong and what to do; commands print it without a stack.
 */
export class SetupError extends Error {
  override readonly name = 'SetupError';

  /**
   * @param problem what is wrong, without a full stop.
   * @param remedy what the user can do now, without a full stop.
   */
  constructor(problem: string, remedy: string, options?: { cause?: unknown }) {
    super(`${problem}: ${remedy}.`, options);
  }
}

/** The `code` of a system error (`ENOENT`, `EACCES`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
