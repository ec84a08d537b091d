import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { parse, stringify } from 'yaml';
import { ApiError, type CallAnswer } from '../clients/typescript/index.ts';
import { collect } from './api-commands.ts';
import { UsageError } from './exit-code.ts';
import { readInput, withFields } from './input.ts';
import { findChromium } from './recorder/chromium.ts';
import { inWords, RecordedSteps, type RecordedStep } from './recorder/recorded-steps.ts';
import { finish, limitOf, seconds, watching } from './runs.ts';
import { openSession, terminalOf, type Session } from './session.ts';

/** Between two looks at a session that is watched, ms. */
const LOOK_MS = 500;
/** Most steps of one answer. */
const LOOK_STEPS = 200;

/** `hal9 browser`: flows from what a person does, and runs of flows in files. */
export function addBrowserCommands(program: Command): void {
  const browser = program.command('browser').description('Flows of browsers: record one, run one');
  browser.addCommand(recordCommand());
  browser.addCommand(runCommand());
}

interface RecordFlags {
  readonly out: string;
  readonly credential?: string;
  readonly headless?: boolean;
  readonly debuggingPort?: number;
}

function recordCommand(): Command {
  const command = new Command('record')
    .description('Write a flow from what you do in a browser; close it, or press Ctrl-C, when you are done')
    .argument('<address>', 'where to begin')
    .option('--out <file>', 'the flow, as YAML', 'flow.yaml')
    .option('--credential <name>', 'connection of kind `website` that what is typed in fields for user names and passwords is to come from; default the name of the host')
    .option('--headless', 'no window: for who works in it by --debugging-port')
    .option('--debugging-port <port>', 'port of this machine on which the browser can be worked in from DevTools (chrome://inspect)', port);
  return command.action(async (address: string) => {
    const url = URL.parse(address);
    if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) throw new UsageError(`${address} is no address of the web`);
    const flags = command.opts<RecordFlags>();
    const terminal = terminalOf(command);
    const credential = flags.credential ?? (url.hostname.replaceAll(/[^\w.-]/g, '') || 'site');
    const steps = new RecordedSteps(credential);
    const stop = new AbortController();
    const leave = (): void => stop.abort();
    process.once('SIGINT', leave);
    try {
      let told: RecordedStep | undefined;
      // Loaded here: Playwright takes longer to load than all the rest of a command line.
      const { record } = await import('./recorder/recorder.ts');
      terminal.note('Recording. Close the browser, or press Ctrl-C, when you are done.');
      await record({
        url: address,
        executablePath: await findChromium(),
        headless: flags.headless === true,
        debuggingPort: flags.debuggingPort,
        steps,
        onStep(step) {
          // A step that only went on, letter by letter, is not said again.
          if (told === undefined || inWords(told) !== inWords(step)) terminal.note(inWords(step));
          told = step;
        },
        onProblem: (problem) => terminal.note(`not recorded: ${problem}`),
      }, stop.signal);
    } finally {
      process.off('SIGINT', leave);
      // Also when the browser died: what was done is done.
      if (steps.count > 0) await writeFile(flags.out, stringify(steps.flow(url.hostname), { lineWidth: 0 }));
    }
    if (steps.needsCredential) terminal.note(`What was typed in fields for user names and passwords is not in the flow: it comes from the connection \`${credential}\`, of kind \`website\`, for ${url.origin}.`);
    if (steps.inputs.length > 0) terminal.note(`The flow needs input: ${steps.inputs.join(', ')}.`);
    terminal.show({ file: flags.out, steps: steps.count });
  });
}

interface RunFlags {
  readonly input?: string;
  readonly field: readonly string[];
  readonly connection?: string;
  readonly tag: readonly string[];
  readonly wait?: boolean;
  readonly watch?: boolean;
  readonly limit?: number;
}

function runCommand(): Command {
  const command = new Command('run')
    .description('Run a flow of a file')
    .argument('<file>', 'the flow, as YAML or JSON')
    .option('--input <file>', 'what its expressions see as `input`, as JSON from a file, - for stdin')
    .option('--field <name=value>', 'a field of that input, over --input; dots go deeper; may be repeated', collect, [])
    .option('--connection <name>', 'connection that carries the question when a person must take over')
    .option('--tag <tag>', 'a label to find the run by; may be repeated', collect, [])
    .option('--wait', 'wait for the end and print the result')
    .option('--watch', 'show each step as it is taken, to the end; Ctrl-C leaves the run going')
    .option('--limit <seconds>', 'longest time to wait or watch', seconds);
  return command.action(async (file: string) => {
    const session = await openSession(command);
    const { client, terminal, url } = session;
    const { input, field, connection, tag, watch, wait, limit } = command.opts<RunFlags>();
    const given = withFields(input === undefined ? undefined : await readInput(input), field);
    const { runId } = await client.runs.start('browser', { flow: await readFlow(file), ...(given === undefined ? {} : { input: given }), ...(connection === undefined ? {} : { connection }) }, tag.length === 0 ? {} : { tags: tag });
    const evidence = new URL(`/console/browser.html?id=${encodeURIComponent(runId)}`, url).href;
    if (watch !== true && wait !== true) return terminal.show({ runId, evidence });
    terminal.note(`${runId}\n${evidence}`);
    if (watch === true) await watchSteps(session, runId, limit);
    else finish(session, await client.runs.result(runId, limitOf(limit)));
  });
}

/** @throws {UsageError} for a file that cannot be read, or is no YAML. */
async function readFlow(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  try {
    return parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

type Steps = CallAnswer<'listBrowserSteps'>;

/** Tells each step of a session as it is put on record, then how the run ended. */
async function watchSteps(session: Session, runId: string, limitSeconds: number | undefined): Promise<void> {
  const { client, terminal } = session;
  let after = 0;
  let state = '';
  const look = async (signal: AbortSignal): Promise<void> => {
    for (let page: Steps['items'] | undefined; page === undefined || page.length === LOOK_STEPS; ) {
      page = await stepsAfter(session, runId, after, signal);
      for (const step of page) {
        after = step.seq;
        if (terminal.json) terminal.line(JSON.stringify(step));
        else terminal.note(sentence(step));
      }
    }
    const { progress } = await client.call('getRun', { params: { id: runId } }, { signal });
    if (progress !== null && progress.step !== state && progress.step.startsWith('waiting')) terminal.note(progress.step);
    state = progress?.step ?? state;
  };
  await watching(session, runId, async ({ signal }) => {
    let over = false;
    const ended = client.runs.result(runId, { ...limitOf(limitSeconds), signal }).finally(() => {
      over = true;
    });
    const watched = (async () => {
      while (!over) {
        await look(signal);
        await Promise.race([ended, sleep(LOOK_MS, undefined, { signal })]);
      }
      // What was taken since the last look is on record before a run ends.
      await look(signal);
    })();
    const [outcome] = await Promise.all([ended, watched]);
    return outcome;
  });
}

async function stepsAfter({ client }: Session, runId: string, after: number, signal: AbortSignal): Promise<Steps['items']> {
  try {
    return (await client.call('listBrowserSteps', { params: { id: runId, after, limit: LOOK_STEPS } }, { signal })).items;
  } catch (error) {
    // No browser took it up yet.
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  }
}

function sentence({ endedAt, startedAt, outcome, verb, name, target, failure }: Steps['items'][number]): string {
  const took = Date.parse(endedAt) - Date.parse(startedAt);
  const what = [name ?? verb, target].filter((part) => part !== null && part !== '').join(' ');
  return `${endedAt.slice(11, 19)} ${outcome} ${what} (${took} ms)${failure === null ? '' : `: ${failure}`}`;
}

function port(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) throw new InvalidArgumentError('a port is needed, 1 to 65535');
  return number;
}
