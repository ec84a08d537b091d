import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from './arguments.ts';
import { RawCopy } from './ingest/raw-copy.ts';
import { readingBody, sendLines } from './ingest/sender.ts';

/** Streams a client sends at once. */
const STREAMS = 2;
const ROUNDS = 3;

/**
 * Durable signals a second through the API (NDJSON over HTTP, the client on the same cores), and what COPY alone does with the
 * very rows they became, on the same server in the same run. Options: `--signals N` (a round, default 300,000).
 */
export const run: Bench = async (args) => {
  const signals = args.number('signals', 300_000);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0' },
    processes: ['api'],
    progress: args.progress,
    signal: args.signal,
  });
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const target = { url: stack.url, apiKey };
    const copy = new RawCopy(stack.databaseUrl);
    const send = async (name: string, count: number): Promise<number> => {
      const share = Math.ceil(count / STREAMS);
      const bodies = Array.from({ length: STREAMS }, (_, stream) => readingBody(name, stream * share, Math.min(count, (stream + 1) * share)));
      const began = performance.now();
      const receipts = await Promise.all(bodies.map((body) => sendLines(target, body)));
      const seconds = (performance.now() - began) / 1000;
      const accepted = receipts.reduce((sum, receipt) => sum + receipt.accepted, 0);
      if (accepted !== count) throw new Error(`${accepted} of ${count} signals accepted`);
      return count / seconds;
    };
    await send('warm', Math.min(signals, 50_000));
    const rounds: { ingest: number; copy: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      args.signal.throwIfAborted();
      const before = await copy.highestChunk();
      const ingest = await send(`round-${round}`, signals);
      const rows = await copy.rowsAfter(before);
      const copied = Math.max(await copy.rowsPerSecond(rows, 1), await copy.rowsPerSecond(rows, STREAMS));
      args.progress(`round ${round + 1}: ${Math.round(ingest)} signals/s, COPY ${Math.round(copied)} rows/s`);
      rounds.push({ ingest, copy: copied });
    }
    const middle = rounds.toSorted((a, b) => a.ingest / a.copy - b.ingest / b.copy)[ROUNDS >> 1];
    if (middle === undefined) throw new Error('no rounds');
    return {
      signalsPerSecond: Math.round(middle.ingest),
      ratioToCopy: middle.ingest / middle.copy,
      copyRowsPerSecond: Math.round(middle.copy),
      signals: signals * ROUNDS,
      apiPeakMiB: await peakMiB(stack.processes().find(({ name }) => name === 'api')?.pid),
      rounds: rounds.map(({ ingest, copy: copied }) => ({ signalsPerSecond: Math.round(ingest), ratioToCopy: ingest / copied })),
    };
  } finally {
    await stack.stop();
  }
};

/** Most memory the process ever held, MiB; null where the kernel does not tell. */
async function peakMiB(pid: number | undefined): Promise<number | null> {
  if (pid === undefined) return null;
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kilobytes === undefined ? null : Math.round(Number(kilobytes) / 1024);
}
