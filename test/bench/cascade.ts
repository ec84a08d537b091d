import { join } from 'node:path';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from './arguments.ts';
import { cpuSeconds } from './cascade/cpu-time.ts';
import { createNeurons } from './cascade/neurons.ts';
import { DecidedBatches } from './cascade/decided-batches.ts';
import { eventBody } from './cascade/event-body.ts';
import { sendLines } from './ingest/sender.ts';

/** Streams a client sends at once. */
const STREAMS = 2;
/** Signals of the runs that emit nothing and that emit all. */
const SIDE_SIGNALS = 100_000;

interface Measured {
  readonly signalsPerSecond: number;
  readonly microsecondsPerSignal: number;
  /** Microseconds of CPU by process. */
  readonly cpu: Readonly<Record<string, number>>;
}

/**
 * From the first byte sent over HTTP to the commit of the last decision, three layers of rules, the client on the same cores.
 * `signalsPerSecond` and `costGrowth` (cost of a signal among 10^6 over that among 10^4) with 1 % of the signals emitting; `at0`,
 * `at1`, `at100`: signals a second when none, 1 % and all emit. `cpuMicrosecondsPerSignal`: CPU by process, whatever else the machine does. Options: `--signals N` instead of 10^6.
 */
export const run: Bench = async (args) => {
  const most = args.number('signals', 1_000_000);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  const batches = await DecidedBatches.open(stack.databaseUrl);
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const target = { url: stack.url, apiKey };
    await createNeurons(target);
    const measure = async (name: string, signals: number, emitShare: number): Promise<Measured> => {
      args.signal.throwIfAborted();
      const share = Math.ceil(signals / STREAMS);
      const bodies = Array.from({ length: STREAMS }, (_, stream) => eventBody(name, { from: stream * share, to: Math.min(signals, (stream + 1) * share), emitShare }));
      const before = await batches.mark();
      const cpuBefore = await cpuSeconds(stack.processes());
      const began = Date.now();
      const receipts = await Promise.all(bodies.map((body) => sendLines(target, body)));
      const accepted = receipts.reduce((sum, receipt) => sum + receipt.accepted, 0);
      if (accepted !== signals) throw new Error(`${accepted} of ${signals} signals accepted`);
      const { decidedAt, decisions, failed } = await batches.allDecided(before, signals, args.signal);
      const expected = Math.round(signals * emitShare);
      if (failed > 0 || decisions !== expected) throw new Error(`${decisions} decisions of ${expected}, ${failed} batches failed`);
      const milliseconds = decidedAt.getTime() - began;
      const measured = { signalsPerSecond: Math.round((signals * 1000) / milliseconds), microsecondsPerSignal: (milliseconds * 1000) / signals, cpu: Object.fromEntries([...(await cpuSeconds(stack.processes()))].map(([process, seconds]) => [process, ((seconds - (cpuBefore.get(process) ?? 0)) * 1e6) / signals])) };
      args.progress(`${signals.toLocaleString('en-US')} signals, ${String(emitShare * 100)} % emit: ${measured.signalsPerSecond.toLocaleString('en-US')} a second`);
      return measured;
    };
    await measure('warm', 20_000, 0.01);
    const thousand = await measure('thousand', 1_000, 0.01);
    const tenThousand = await measure('ten-thousand', 10_000, 0.01);
    const at0 = await measure('none', SIDE_SIGNALS, 0);
    const at100 = await measure('all', SIDE_SIGNALS / 5, 1);
    const main = await measure('main', most, 0.01);
    return {
      signalsPerSecond: main.signalsPerSecond,
      costGrowth: main.microsecondsPerSignal / tenThousand.microsecondsPerSignal,
      at0: at0.signalsPerSecond,
      at1: main.signalsPerSecond,
      at100: at100.signalsPerSecond,
      signals: most,
      microsecondsPerSignal: { at1000: thousand.microsecondsPerSignal, at10000: tenThousand.microsecondsPerSignal, [`at${String(most)}`]: main.microsecondsPerSignal },
      cpuMicrosecondsPerSignal: main.cpu,
    };
  } finally {
    await batches.close();
    await stack.stop();
  }
};
