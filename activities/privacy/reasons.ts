import { HalError } from '../../schemas/errors.ts';

/** Reasons a run tells; more are as many times the same. */
const MOST_REASONS = 20;

/** As many reasons as are told, and how many more there are. */
export function told(reasons: readonly string[]): string[] {
  const more = reasons.length > MOST_REASONS ? [`and ${reasons.length - MOST_REASONS} more`] : [];
  return [...reasons.slice(0, MOST_REASONS), ...more];
}

/** Says which source an error is of. */
export async function named<Answer>({ name }: { readonly name: string }, work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof HalError) throw new HalError(error.type, `${name}: ${error.message}`, { cause: error });
    throw error;
  }
}
