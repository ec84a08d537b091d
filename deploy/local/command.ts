import { ConfigError } from '../../platform/config/config.ts';
import { SetupError } from './setup-error.ts';

/** Time a command has to end by itself after it was asked to, milliseconds. */
const END_MS = 30_000;
/** A second Ctrl-C within this time is the same one, passed on by the launcher. */
const ECHO_MS = 1000;

/**
 * Runs a command to its end: Ctrl-C and SIGTERM abort `signal`, a second one ends at once; expected errors are printed as
 * one sentence. Sets the exit code: 0, 1 for an error, 2 for a wrong setting, 130 or 143 when a signal ended it early.
 * @param main returns when everything it started has ended.
 */
export async function runCommand(main: (signal: AbortSignal) => Promise<void>): Promise<never> {
  const abort = new AbortController();
  let asked: { signal: NodeJS.Signals; at: number } | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (asked === undefined) {
        asked = { signal, at: Date.now() };
        abort.abort(new Interrupted(signal));
        setTimeout(() => process.exit(1), END_MS).unref();
      } else if (signal === 'SIGINT' && Date.now() - asked.at > ECHO_MS) {
        process.exit(1);
      }
    });
  }
  // npm may be gone, and the terminal with it, while this still cleans up.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  try {
    await main(abort.signal);
    process.exit(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof Interrupted) process.exit(error.signal === 'SIGINT' ? 130 : 143);
    process.stderr.write(`${describe(error)}\n`);
    process.exit(error instanceof ConfigError ? 2 : 1);
  }
}

/** The command was asked to end before it was done. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`ended by ${signal}`);
    this.signal = signal;
  }
}

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function describe(error: unknown): string {
  if (error instanceof SetupError) return error.message.charAt(0).toUpperCase() + error.message.slice(1);
  if (error instanceof ConfigError) return `A setting is wrong: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
