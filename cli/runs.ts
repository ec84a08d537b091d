import { Command, InvalidArgumentError } from 'commander';
import type { CallAnswer, CallInput, RunOutcome, StartOptions } from '../clients/typescript/index.ts';
import { camel, collect, kebab } from './api-commands.ts';
import { EXIT, UsageError } from './exit-code.ts';
import { readInput, splitField, valueOf, withFields } from './input.ts';
import { openSession, type Session } from './session.ts';

interface StartFlags {
  readonly input?: string;
  readonly field: readonly string[];
  readonly tag: readonly string[];
  readonly delay?: number;
  readonly memo: readonly string[];
  readonly priority?: number;
  readonly runTimeout?: number;
  readonly concurrencyKey?: string;
  readonly concurrencyLimit?: number;
  readonly idempotencyKey?: string;
  readonly wait?: boolean;
  readonly watch?: boolean;
  readonly limit?: number;
}

/** What people do with runs all day, at the top: `run`, `watch`, `list`, `describe`, `result`, `cancel`, ... */
export function addRunCommands(program: Command): void {
  const runs = program.command('runs').description('Runs');
  runs.addCommand(startCommand('start'));
  program.addCommand(startCommand('run'));
  for (const parent of [program, runs]) {
    parent.addCommand(watchCommand());
    parent.addCommand(resultCommand());
    parent.addCommand(describeCommand());
    parent.addCommand(historyCommand());
    for (const kind of ['signal', 'query', 'update'] as const) parent.addCommand(messageCommand(kind));
    parent.addCommand(cancelCommand());
    parent.addCommand(terminateCommand());
  }
  program.addCommand(listCommand());
  runs.addCommand(listCommand());
}

function startCommand(name: string): Command {
  const command = new Command(name)
    .description('Start a run of an operation; every field of its input is an option: `hal9 run greet --name Ada`')
    .argument('<operation>', 'its name; `hal9 operations list` shows them')
    .argument('[fields...]', 'fields of the input as --name value')
    .option('--input <file>', 'the input as JSON from a file, - for stdin')
    .option('--field <name=value>', 'a field of the input, over --input; dots go deeper; may be repeated', collect, [])
    .option('--tag <tag>', 'a label to find the run by; may be repeated', collect, [])
    .option('--delay <seconds>', 'time before the run begins', seconds)
    .option('--run-timeout <seconds>', 'longest time the run may take', seconds)
    .option('--priority <number>', '1 is served first, 5 last', seconds)
    .option('--memo <name=value>', 'a remark shown with the run; may be repeated', collect, [])
    .option('--concurrency-key <key>', 'with --concurrency-limit: so many runs at once for the key, the others wait')
    .option('--concurrency-limit <number>', 'runs at once for the key', seconds)
    .option('--idempotency-key <key>', 'equal keys with equal input are one run')
    .option('--wait', 'wait for the end and print the result; the exit code says how it ended')
    .option('--watch', 'follow its progress to the end; Ctrl-C leaves the run going')
    .option('--limit <seconds>', 'longest time to wait or watch', seconds)
    .allowUnknownOption();
  command.action(async (operation: string, fields: readonly string[]) => {
    const session = await openSession(command);
    const flags = command.opts<StartFlags>();
    const given = objectOf(flags.input === undefined ? undefined : await readInput(flags.input));
    const named = fields.length === 0 ? {} : parseFields(command, await session.client.call('getWorkflow', { params: { type: operation } }), fields);
    const started = await session.client.runs.start(operation, withFields({ ...given, ...named }, flags.field), {
      ...(flags.tag.length === 0 ? {} : { tags: flags.tag }),
      ...(flags.delay === undefined ? {} : { delaySeconds: flags.delay }),
      ...(flags.idempotencyKey === undefined ? {} : { idempotencyKey: flags.idempotencyKey }),
      ...(flags.runTimeout === undefined ? {} : { timeoutSeconds: flags.runTimeout }),
      ...(flags.priority === undefined ? {} : { priority: flags.priority }),
      ...(flags.memo.length === 0 ? {} : { memo: Object.fromEntries(flags.memo.map((remark) => splitField(remark))) }),
      ...concurrencyOf(flags),
    });
    if (flags.watch === true) return follow(session, started.runId, flags.limit);
    if (flags.wait === true) return finish(session, await session.client.runs.result(started.runId, limitOf(flags.limit)));
    session.terminal.show(started);
  });
  return command;
}

function concurrencyOf({ concurrencyKey: key, concurrencyLimit: limit }: StartFlags): Pick<StartOptions, 'concurrency'> {
  if (key === undefined && limit === undefined) return {};
  if (key === undefined || limit === undefined) throw new UsageError('--concurrency-key and --concurrency-limit go together');
  return { concurrency: { key, limit } };
}

/**
 * Options an operation's input gives: `--place text`, `--guests '["ada@example.org"]'`, `--urgent`. A field that is called as an option of
 * the command itself is given by `--field`.
 * @throws {CommanderError} for an option that is no field.
 */
function parseFields(of: Command, described: CallAnswer<'getWorkflow'>, args: readonly string[]): Record<string, unknown> {
  const inner = new Command(`hal9 run ${described.type}`).exitOverride();
  const properties = isRecord(described.input['properties']) ? described.input['properties'] : {};
  const names = new Map<string, string>();
  for (const [name, schema] of Object.entries(properties)) {
    const flag = kebab(name);
    if (of.options.some((option) => option.long === `--${flag}`)) continue;
    names.set(camel(flag), name);
    const type = isRecord(schema) ? schema['type'] : undefined;
    if (type === 'boolean') inner.option(`--${flag}`).option(`--no-${flag}`);
    else if (type === 'string') inner.option(`--${flag} <text>`);
    else inner.option(`--${flag} <${typeof type === 'string' ? type : 'json'}>`, '', valueOf);
  }
  inner.parse([...args], { from: 'user' });
  if (inner.args.length > 0) throw new UsageError(`${inner.args.join(' ')} is no field; give fields as --name value`);
  // What was not said is left to the operation's own defaults.
  return Object.fromEntries(Object.entries(inner.opts()).flatMap(([key, value]) => (inner.getOptionValueSource(key) === 'cli' ? [[names.get(key) ?? key, value]] : [])));
}

function watchCommand(): Command {
  const command = new Command('watch').description('Follow a run to its end; Ctrl-C leaves it going').argument('<runId>').option('--limit <seconds>', 'longest time', seconds);
  return command.action(async (runId: string) => follow(await openSession(command), runId, command.opts<StartFlags>().limit));
}

function resultCommand(): Command {
  const command = new Command('result').description('Wait for the end of a run and print its result').argument('<runId>').option('--limit <seconds>', 'longest time; 0 asks only', seconds);
  return command.action(async (runId: string) => {
    const session = await openSession(command);
    finish(session, await session.client.runs.result(runId, limitOf(command.opts<StartFlags>().limit)));
  });
}

function describeCommand(): Command {
  const command = new Command('describe').description('State of a run: progress, what it waits for, what failed').argument('<runId>');
  return command.action(async (runId: string) => {
    const { client, terminal } = await openSession(command);
    const run = await client.call('getRun', { params: { id: runId, include: 'pending' } });
    if (terminal.json) return terminal.show(run);
    const { pendingActivities, links, ...rest } = run;
    terminal.show({ ...rest, ...(links.temporal === undefined ? {} : { temporal: links.temporal }) });
    for (const { explanation } of pendingActivities) terminal.line(explanation);
  });
}

function historyCommand(): Command {
  const command = new Command('history').description('What happened in a run, step by step').argument('<runId>');
  return command.action(async (runId: string) => {
    const { client, terminal } = await openSession(command);
    terminal.show(await client.call('getRunHistory', { params: { id: runId } }));
  });
}

function messageCommand(kind: 'signal' | 'query' | 'update'): Command {
  const about = { signal: 'Send a signal to a run', query: 'Ask a run; changes nothing', update: 'Change a run and wait for its answer' }[kind];
  const command = new Command(kind).description(about).argument('<runId>').argument('<name>', 'name of the message; `hal9 operations get` shows them');
  command.option('--input <file>', 'payload as JSON from a file, - for stdin').option('--field <name=value>', 'a field of the payload; may be repeated', collect, []);
  return command.action(async (runId: string, name: string) => {
    const { client, terminal } = await openSession(command);
    const { input, field } = command.opts<StartFlags>();
    const payload = withFields(input === undefined ? undefined : await readInput(input), field);
    if (kind === 'signal') await client.runs.signal(runId, name, payload);
    terminal.show(kind === 'signal' ? { accepted: true } : await client.runs[kind](runId, name, payload));
  });
}

function cancelCommand(): Command {
  const command = new Command('cancel').description('Ask runs to stop; they clean up first').argument('<runIds...>');
  return command.action(async (runIds: readonly string[]) => {
    const { client, terminal } = await openSession(command);
    for (const runId of runIds) await client.runs.cancel(runId);
    terminal.show({ accepted: true });
  });
}

function terminateCommand(): Command {
  const command = new Command('terminate').description('End runs at once, without cleaning up').argument('<runIds...>').requiredOption('--reason <text>', 'kept in the run\'s history');
  return command.action(async (runIds: readonly string[]) => {
    const { client, terminal } = await openSession(command);
    for (const runId of runIds) await client.runs.terminate(runId, command.opts<{ reason: string }>().reason);
    terminal.show({ accepted: true });
  });
}

interface ListFlags {
  readonly type?: string;
  readonly status?: string;
  readonly tag?: string;
  readonly failure?: string;
  readonly startedBy?: string;
  readonly origin?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

function listCommand(): Command {
  const command = new Command('list').description('Runs, newest first')
    .option('--type <operation>').option('--status <status>', STATUSES.join(', ')).option('--tag <tag>')
    .option('--failure <text>', 'part of the type of the failure')
    .option('--started-by <actor>', '`<kind>:<id>`, as runs say it')
    .option('--origin <origins>', 'what started it, several with commas between')
    .option('--since <time>', 'started at or after: a time, or how long ago: 90s, 15m, 6h, 2d', moment)
    .option('--until <time>', 'started before', moment)
    .option('--limit <number>', 'most runs', seconds, 50);
  return command.action(async () => {
    const { client, terminal } = await openSession(command);
    const { limit, status, since, until, ...filters } = command.opts<ListFlags>();
    const params: CallInput<'listRuns'>['params'] = {
      limit: Math.min(limit, 200),
      ...(status === undefined ? {} : { status: statusOf(status) }),
      ...(since === undefined ? {} : { from: since }),
      ...(until === undefined ? {} : { to: until }),
      ...Object.fromEntries((['type', 'tag', 'failure', 'startedBy', 'origin'] as const).flatMap((name) => (filters[name] === undefined ? [] : [[name, filters[name]]]))),
    };
    const runs: Record<string, unknown>[] = [];
    for await (const { runId, status: state, startedAt, closedAt, failure, ...rest } of client.runs.list(params)) {
      runs.push({ runId, status: state, startedAt, closedAt, failure, ...rest });
      if (runs.length >= limit) break;
    }
    if (terminal.json) for (const run of runs) terminal.line(JSON.stringify(run));
    else terminal.show(runs.map(({ runId, status: state, startedAt, closedAt, failure, tags }) => ({ runId, status: state, startedAt, closedAt, failure, tags })));
  });
}

/** What the stream may still say after the end is known, milliseconds. */
const LAST_WORDS_MS = 1000;

/** Follows the stream of a run: a line for each event, then the outcome. The end is asked for beside it: the stream is a read model that may lag. */
async function follow(session: Session, runId: string, limitSeconds: number | undefined): Promise<void> {
  const { client, terminal } = session;
  await watching(session, runId, async (stop) => {
    const told = (async () => {
      for await (const event of client.stream(`/v1/runs/${encodeURIComponent(runId)}/stream`, { signal: stop.signal })) {
        if (terminal.json) terminal.line(JSON.stringify(event.data));
        else terminal.note(sentence(event.event, event.data));
      }
    })().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    });
    const [outcome] = await Promise.all([
      client.runs.result(runId, { ...limitOf(limitSeconds), signal: stop.signal }).finally(() => setTimeout(() => stop.abort(), LAST_WORDS_MS)),
      told,
    ]);
    return outcome;
  });
}

/** Ctrl-C while watching: people stop looking, the run does not stop. */
class WatchEnded extends Error {
  override readonly name = 'WatchEnded';
}

/** Watches a run until it or the person who watches ends it. @param work tells what happens, and how the run ended; aborts `stop` or is aborted by it. */
export async function watching(session: Session, runId: string, work: (stop: AbortController) => Promise<RunOutcome>): Promise<void> {
  const stop = new AbortController();
  const leave = (): void => stop.abort(new WatchEnded());
  process.once('SIGINT', leave);
  try {
    finish(session, await work(stop));
  } catch (error) {
    if (!(stop.signal.reason instanceof WatchEnded)) throw error;
    session.terminal.note(`The run goes on. Look again with \`hal9 watch ${runId}\`.`);
    process.exitCode = EXIT.interrupted;
  } finally {
    stop.abort();
    process.off('SIGINT', leave);
  }
}

function sentence(type: string, event: unknown): string {
  const data = isRecord(event) ? event['data'] : undefined;
  const at = isRecord(event) && typeof event['at'] === 'string' ? event['at'].slice(11, 19) : '';
  if (isRecord(data) && typeof data['step'] === 'string') {
    const { step, done, total, message } = data;
    return `${at} ${step} ${String(done)}${typeof total === 'number' ? `/${total}` : ''} ${typeof message === 'string' ? message : ''}`.trim();
  }
  return `${at} ${type}${data === null || data === undefined || (isRecord(data) && Object.keys(data).length === 0) ? '' : ` ${JSON.stringify(data)}`}`;
}

/** Prints how a run ended; anything but `completed` is an exit code of its own. */
export function finish({ terminal }: Session, outcome: RunOutcome): void {
  if (terminal.json) terminal.show(outcome);
  else if (outcome.status === 'completed') terminal.show(outcome.result ?? 'completed');
  else terminal.note(`${outcome.status}${outcome.failure === undefined ? '' : `: ${outcome.failure.type}: ${outcome.failure.message}`}`);
  if (outcome.status !== 'completed') process.exitCode = outcome.status === 'running' ? EXIT.timeout : EXIT.failed;
}

const STATUSES = ['running', 'completed', 'failed', 'cancelled', 'terminated', 'timed-out'] as const;

function statusOf(text: string): (typeof STATUSES)[number] {
  const found = STATUSES.find((status) => status === text);
  if (found === undefined) throw new UsageError(`${text} is no status; there are: ${STATUSES.join(', ')}`);
  return found;
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `2026-05-01`, `2026-05-01T12:00Z`, or `2h` for two hours ago, as ISO 8601. */
function moment(text: string): string {
  const [, amount, unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const at = amount === undefined ? Date.parse(text) : Date.now() - Number(amount) * (UNITS[unit] ?? 0);
  if (Number.isNaN(at)) throw new InvalidArgumentError('a time is needed, such as 2026-05-01T12:00Z, or how long ago, such as 6h');
  return new Date(at).toISOString();
}

export function limitOf(limitSeconds: number | undefined): { limitMs?: number } {
  return limitSeconds === undefined ? {} : { limitMs: limitSeconds * 1000 };
}

export function seconds(text: string): number {
  const number = Number(text);
  if (text.trim() === '' || !Number.isFinite(number) || number < 0) throw new InvalidArgumentError('a number from 0 is needed');
  return number;
}

function objectOf(value: unknown): Record<string, unknown> {
  if (value === undefined) return {};
  if (!isRecord(value)) throw new UsageError('the input of a run is a JSON object');
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
