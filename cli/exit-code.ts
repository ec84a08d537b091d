import { CommanderError } from 'commander';
import { ApiError, ConnectionError, RequestTimeout } from '../clients/typescript/index.ts';

/** What scripts can tell apart. Documented in docs/how-to/cli.md. */
export const EXIT = {
  ok: 0,
  /** The run failed, was cancelled, terminated or timed out; or lines of an upload were refused. */
  failed: 1,
  /** The command line, the input, or a setting is wrong. */
  usage: 2,
  /** No valid credential, or it lacks a permission. */
  refused: 3,
  notFound: 4,
  conflict: 5,
  /** Rate limited, or the plan or budget allows no more. */
  limited: 6,
  /** HAL9, or something it depends on, does not answer or failed. */
  unavailable: 7,
  /** Not within the time the command was given. */
  timeout: 8,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

/** The command line is wrong in a way the parser cannot know. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof UsageError || error instanceof TypeError) return EXIT.usage;
  if (error instanceof RequestTimeout) return EXIT.timeout;
  if (error instanceof ConnectionError) return EXIT.unavailable;
  if (error instanceof ApiError) return ofStatus(error.status);
  return EXIT.unavailable;
}

function ofStatus(status: number): number {
  switch (status) {
    case 401:
    case 403:
      return EXIT.refused;
    case 404:
      return EXIT.notFound;
    case 409:
    case 412:
      return EXIT.conflict;
    case 402:
    case 429:
      return EXIT.limited;
    case 504:
      return EXIT.timeout;
    default:
      return status < 500 ? EXIT.usage : EXIT.unavailable;
  }
}

/** One or more lines for people: what, and what to do now. */
export function explain(error: unknown): string {
  if (error instanceof ApiError) {
    const fields = error.errors.map(({ path, message }) => `\n  ${path} ${message}`).join('');
    return `${error.title}: ${error.message}${fields}\n${error.remedy} (${error.type}${error.requestId === '' ? '' : `, request ${error.requestId}`})`;
  }
  return error instanceof Error ? error.message : String(error);
}
