import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack } from '../../../deploy/local/stack.ts';

export interface KillerOptions {
  /** What is killed and comes back by itself. */
  readonly stack: Pick<Stack, 'kill' | 'whenReady'>;
  /** Processes to choose from; each is killed once before any is killed again. */
  readonly names: readonly string[];
  readonly kills: number;
  /** Between the return of one victim and the next kill, at least and at most, ms. */
  readonly pauseMs: readonly [number, number];
  readonly progress: (message: string) => void;
  /** Told of each kill. */
  readonly onKill: () => void;
  readonly signal: AbortSignal;
}

/** Kills processes at random and lets the stack bring them back. @returns how often each was killed. */
export async function killAtRandom(options: KillerOptions): Promise<Record<string, number>> {
  const { stack, names, kills, pauseMs, progress, onKill, signal } = options;
  const killed: Record<string, number> = {};
  let hat: string[] = [];
  for (let count = 0; count < kills; count++) {
    await sleep(pauseMs[0] + Math.random() * (pauseMs[1] - pauseMs[0]), undefined, { signal });
    if (hat.length === 0) hat = shuffled(names);
    const name = hat.pop() ?? '';
    await stack.whenReady(name);
    stack.kill(name, 'SIGKILL');
    killed[name] = (killed[name] ?? 0) + 1;
    onKill();
    progress(`kill ${count + 1} of ${kills}: ${name}`);
    // Not waiting for its return now and then: two parts may be away at once.
    if (Math.random() < 0.7) await Promise.race([sleep(100).then(() => stack.whenReady(name)), sleep(20_000)]);
  }
  return killed;
}

function shuffled(names: readonly string[]): string[] {
  return names
    .map((name) => ({ name, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ name }) => name);
}
