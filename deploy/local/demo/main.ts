import { parseArgs } from 'node:util';
import { CAUSES } from '../../../schemas/names/remedies.ts';
import { aborted, runCommand } from '../command.ts';
import { SetupError } from '../setup-error.ts';
import { LIVE_NEURONS, runLive } from './live.ts';
import { Progress } from './progress.ts';
import { REPLAY_NEURONS, runReplay } from './replay.ts';
import { addresses, liveTable, replayTable } from './report.ts';
import { readSeries } from './series.ts';
import { openSession, type DemoSession } from './session.ts';

/** `npm run demo`: real metrics and real faults, or labelled series from files, through the whole platform. */
await runCommand(async (signal) => {
  const options = readArguments(process.argv.slice(2));
  const series = options.data === undefined ? undefined : await readSeries(options.data.folder, options.data.labels);
  const session = await openSession({
    processes: series === undefined ? ['api', 'core', 'dispatcher', 'host'] : ['api', 'core', 'dispatcher'],
    neurons: series === undefined ? LIVE_NEURONS : REPLAY_NEURONS,
    signal,
    progress: (message) => process.stderr.write(`${message}\n`),
  });
  try {
    if (!options.json) process.stderr.write(`${addresses(session)}\n`);
    const shown = series === undefined ? await live(session, options, signal) : await replay(session, series, signal);
    if (options.json) process.stderr.write(`${shown.table}\n`);
    process.stdout.write(`${options.json ? JSON.stringify(shown.result) : shown.table}\n`);
    if (options.exit) return;
    if (!options.json) process.stdout.write(`\n${addresses(session)}\nThe stack stays up; Ctrl-C stops it.\n`);
    await aborted(signal);
  } catch (error) {
    // Asked to end: whatever broke on the way is no news.
    throw signal.aborted ? signal.reason : error;
  } finally {
    await session.close();
  }
});

interface Shown {
  readonly result: object;
  readonly table: string;
}

async function live(session: DemoSession, options: DemoArguments, signal: AbortSignal): Promise<Shown> {
  const progress = new Progress(100);
  try {
    const { faults, falsely, result } = await runLive(session, options, progress, signal);
    return { result, table: liveTable(faults, falsely, result) };
  } finally {
    progress.stop();
  }
}

async function replay(session: DemoSession, series: Awaited<ReturnType<typeof readSeries>>, signal: AbortSignal): Promise<Shown> {
  const progress = new Progress(100);
  try {
    const { result, scores } = await runReplay(session.api, series, progress, signal);
    return { result, table: replayTable(scores, result) };
  } finally {
    progress.stop();
  }
}

interface DemoArguments {
  readonly exit: boolean;
  readonly json: boolean;
  readonly data: { folder: string; labels: string } | undefined;
  readonly baselineSeconds: number;
  readonly causes: readonly string[];
}

function readArguments(args: readonly string[]): DemoArguments {
  const usage = 'use --exit, --json, --seconds N (length of the quiet baseline, at least 35), --faults CAUSE,CAUSE, or --data DIR with --labels FILE';
  const parse = () => {
    try {
      return parseArgs({
        args: [...args],
        options: { exit: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, data: { type: 'string' }, labels: { type: 'string' }, seconds: { type: 'string', default: '40' }, faults: { type: 'string', default: '' } },
      }).values;
    } catch (error) {
      throw new SetupError(error instanceof Error ? (error.message.split('.')[0] ?? error.message) : String(error), usage);
    }
  };
  const { exit, json, data, labels, seconds, faults } = parse();
  const baselineSeconds = Number(seconds);
  if (!Number.isFinite(baselineSeconds) || baselineSeconds < 35) throw new SetupError(`--seconds ${seconds} is too short for the neurons to learn what is usual`, usage);
  if ((data === undefined) !== (labels === undefined)) throw new SetupError('--data and --labels go together', usage);
  const causes = faults.split(',').filter(Boolean);
  const unknown = causes.find((cause) => !Object.values<string>(CAUSES).includes(cause));
  if (unknown !== undefined) throw new SetupError(`there is no fault ${unknown}`, `choose from ${Object.values(CAUSES).join(', ')}`);
  return { exit, json, data: data === undefined || labels === undefined ? undefined : { folder: data, labels }, baselineSeconds, causes };
}
