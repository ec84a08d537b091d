import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench } from '../bench/arguments.ts';
import { killAtRandom } from './signals/killer.ts';
import { settledOutcome } from './signals/outcome.ts';
import { RetryingClient } from './signals/retrying-client.ts';

/** A small run for every change: a few kills while some thousand signals go in. */
const SMOKE = { signals: 3000, kills: 4, pauseMs: [500, 1500] } as const;
const FULL = { signals: 50_000, kills: 12, pauseMs: [1000, 5000] } as const;
const LINES_A_REQUEST = 100;
const SENDERS = 4;

/** Every signal passes three layers and becomes one decision that carries its id, so that a second one would show. */
const NEURONS = [
  { name: 'pass-up', layer: 'L2', subscription: { types: ['chaos.signal'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'chaos.seen', subject: 'signal.id' } }] } },
  { name: 'pass-on', layer: 'L3', subscription: { types: ['chaos.seen'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'chaos.confirmed', subject: 'signal.subject' } }] } },
  { name: 'decide', layer: 'L4', subscription: { types: ['chaos.confirmed'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: 'signal.subject', reason: '"seen"' } }] } },
];

/**
 * Sends signals from a client that retries while parts of the platform are killed at random; then every accepted signal must be
 * decided or a dead letter, and none twice. Options: `--smoke`, `--signals N`, `--kills N`.
 */
export const run: Bench = async (args) => {
  const preset = args.options['smoke'] === undefined ? FULL : SMOKE;
  const signals = args.number('signals', preset.signals);
  const kills = args.number('kills', preset.kills);
  const began = performance.now();
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  try {
    const client = new RetryingClient({ url: stack.url, apiKey: apiKeyOf(stack), signal: args.signal });
    await createNeurons(stack);
    const names = stack.processes().map(({ name }) => name);
    const pace = new Pace(signals, kills);
    const killing = killAtRandom({ stack, names, kills, pauseMs: preset.pauseMs, progress: args.progress, onKill: () => pace.killed(), signal: args.signal });
    killing.catch(() => pace.end());
    const accepted = await sendAll(client, signals, pace);
    const victims = await killing;
    await Promise.all(names.map((name) => stack.whenReady(name)));
    const outcome = await settledOutcome(stack.databaseUrl, { timeoutMs: 240_000, signal: args.signal, progress: args.progress });
    return {
      accepted,
      decided: outcome.decided,
      deadLettered: outcome.deadLettered,
      lost: outcome.lost + Math.max(0, accepted - outcome.stored),
      duplicated: outcome.duplicated,
      kills,
      killed: victims,
      attempts: client.attempts,
      availability: client.answered / client.attempts,
      resent: client.duplicates,
      seconds: Math.round((performance.now() - began) / 1000),
    };
  } finally {
    await stack.stop();
  }
};

/** Spreads the sending over the kills: after each one a further share may go in, so that none hits a platform at rest. */
class Pace {
  readonly #share: number;
  #allowed: number;

  constructor(signals: number, kills: number) {
    this.#share = signals / (kills + 1);
    this.#allowed = this.#share;
  }

  killed(): void {
    this.#allowed += this.#share;
  }

  end(): void {
    this.#allowed = Infinity;
  }

  allows(signal: number): boolean {
    return signal <= this.#allowed;
  }
}

/** @returns signals that the server vouched for. */
async function sendAll(client: RetryingClient, signals: number, pace: Pace): Promise<number> {
  let next = 0;
  let accepted = 0;
  await Promise.all(
    Array.from({ length: SENDERS }, async () => {
      for (let from = next; from < signals; from = next) {
        if (!pace.allows(from)) {
          await sleep(20);
          continue;
        }
        next = Math.min(signals, from + LINES_A_REQUEST);
        const sent = await client.send(Array.from({ length: next - from }, (_, n) => line(from + n)));
        accepted += sent;
        await sleep(30);
      }
    }),
  );
  return accepted;
}

function line(n: number): string {
  return JSON.stringify({ specversion: '1.0', id: `chaos-${n}`, source: `chaos/${n % 40}`, type: 'chaos.signal', time: '2026-01-01T00:00:00Z', data: { n } });
}

async function createNeurons(stack: Stack): Promise<void> {
  for (const neuron of NEURONS) {
    const response = await fetch(`${stack.url}/v1/neurons`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKeyOf(stack)}` },
      body: JSON.stringify(neuron),
      signal: AbortSignal.timeout(15_000),
    });
    if (response.status !== 201) throw new Error(`creating the neuron ${neuron.name} answered ${response.status}: ${await response.text()}`);
  }
}

function apiKeyOf(stack: Stack): string {
  const { first } = stack;
  if (first === undefined) throw new Error('the stack is not new');
  return first.apiKey;
}
