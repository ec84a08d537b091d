import tab from '@bomb.sh/tab/commander';
import { Command, InvalidArgumentError } from 'commander';
import { addApiCommands } from './api-commands.ts';
import { addBrowserCommands } from './browser.ts';
import { exitCodeOf, explain, EXIT } from './exit-code.ts';
import { addInitCommand } from './init.ts';
import { addLoginCommands } from './login.ts';
import { addMcpCommand } from './mcp.ts';
import { addRecordCommand } from './record.ts';
import { addRunCommands } from './runs.ts';
import { addSignalCommands } from './signals.ts';

const LOCAL = `
On this machine:
  start [--operations DIR]       the whole stack, until Ctrl-C
  demo, api, worker <NAME>       its parts
  check [DIR]                    contracts, workflows, replays and tests of a project of operations
  audit verify EXPORT --key KEY  an exported audit log, without a server
  anchor verify PROOF [--rpc URL]
                                 that a hash is anchored on a chain, without a server
  privacy map --sql FILE --dataset FILE
                                 where people are found in a schema, and in which order they are erased
  privacy verify-receipt FILE --key KEY
                                 the receipt of an erasure, without a server
  privacy replay-erasures [--receipts DIR]
                                 erasures once more, after a backup was restored

Exit codes: 0 ok, 1 the run failed, 2 usage, 3 refused, 4 not found, 5 conflict, 6 limited, 7 unavailable, 8 timeout, 130 Ctrl-C.`;

/** The command line of HAL9's API. */
export function createProgram(): Command {
  const program = new Command('hal9')
    .description('Signals in, layered decisions out, every long operation a durable run')
    .enablePositionalOptions()
    .option('--json', 'answers as JSON, lists that are followed as a line each')
    .option('--url <address>', 'the API; default HAL9_URL, then the profile')
    .option('--profile <name>', 'one of `hal9 profiles list`; default HAL9_PROFILE, then the current one')
    .option('--timeout <seconds>', 'longest time until an answer begins', (text) => {
      const number = Number(text);
      if (!(number > 0)) throw new InvalidArgumentError('a number above 0 is needed');
      return number;
    })
    .addHelpText('after', LOCAL);
  addLoginCommands(program);
  addRunCommands(program);
  addSignalCommands(program);
  addRecordCommand(program);
  addBrowserCommands(program);
  addMcpCommand(program);
  addInitCommand(program);
  addApiCommands(program);
  for (const command of every(program)) if (command !== program) addCommonOptions(command);
  tab(program, { completionCommandName: 'completion' });
  for (const command of every(program)) command.exitOverride().showHelpAfterError('(add --help)');
  return program;
}

/** `hal9 runs list --json` reads better than `hal9 --json runs list`; both work. */
function addCommonOptions(command: Command): void {
  for (const [flag, about] of [['--json', 'answer as JSON'], ['--url <address>', ''], ['--profile <name>', '']] as const) {
    const long = flag.split(' ')[0] ?? flag;
    if (command.commands.length === 0 && !command.options.some((option) => option.long === long)) command.option(flag, about);
  }
}

function every(command: Command): Command[] {
  return [command, ...command.commands.flatMap(every)];
}

/** Runs one command line. @returns its exit code. */
async function main(args: readonly string[]): Promise<number> {
  // A reader that has seen enough (`| head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  try {
    await createProgram().parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    const code = exitCodeOf(error);
    // The parser has said it already.
    if (!(error instanceof Error && error.name === 'CommanderError') && !(error instanceof InvalidArgumentError)) process.stderr.write(`${explain(error)}\n`);
    return code;
  }
}

if (process.argv[1] === import.meta.filename) process.exitCode = await main(process.argv.slice(2));
