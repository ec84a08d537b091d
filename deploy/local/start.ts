import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { invitationLink } from '../../platform/identity/invitations.ts';
import { aborted, runCommand } from './command.ts';
import { SetupError } from './setup-error.ts';
import { startStack, type Stack } from './stack.ts';
import type { ProcessEvent } from './supervised-process.ts';

const HELP = `Starts HAL9 on this machine, until Ctrl-C.

  --data DIR         data folder (HAL9_DATA, default .hal9)
  --port N           port of the API (HAL9_PORT, default 8090); 0 picks free ports for everything and remembers them
  --workers N        core workers (HAL9_CORE_WORKERS, default 1)
  --operations DIR   a project with operations of your own (HAL9_OPERATIONS)
  --verbose          every process's log on stderr too
`;

/** `npm start`: the embedded stack, until Ctrl-C. */
await runCommand(async (signal) => {
  const options = readArguments(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  const started = Date.now();
  const print = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  let up = false;
  const stack = await startStack({
    settings: options.settings,
    signal,
    progress: print,
    onFirst: (first) => print(`\nOrganisation ${first.orgId} was created, and its administrator's API key. It is shown only now: ${first.apiKey}\n`),
    onEvent: (event) => {
      if (up && !signal.aborted) report(event, print);
      else if (event.type === 'ready' && !up) print(`  ${event.name.padEnd(12)} ready   ${((Date.now() - started) / 1000).toFixed(1)} s`);
    },
    ...(options.verbose ? { onLine: (name: string, line: string) => process.stderr.write(`${name} ${line}\n`) } : {}),
  });
  up = true;
  try {
    print(welcome(stack, Date.now() - started));
    await aborted(signal);
    print('\nStopping ...');
  } finally {
    await stack.stop();
  }
});

interface StartArguments {
  settings: Record<string, string>;
  verbose: boolean;
  help: boolean;
}

function readArguments(args: readonly string[]): StartArguments {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { operations: { type: 'string' }, data: { type: 'string' }, port: { type: 'string' }, workers: { type: 'string' }, verbose: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
    });
    return {
      settings: {
        ...(values.operations === undefined ? {} : { HAL9_OPERATIONS: resolve(values.operations) }),
        ...(values.data === undefined ? {} : { HAL9_DATA: resolve(values.data) }),
        ...(values.port === undefined ? {} : { HAL9_PORT: values.port }),
        ...(values.workers === undefined ? {} : { HAL9_CORE_WORKERS: values.workers }),
      },
      verbose: values.verbose,
      help: values.help,
    };
  } catch (error) {
    throw new SetupError(error instanceof Error ? error.message.split('.')[0] ?? error.message : String(error), 'use --operations DIR, --data DIR, --port N, --workers N or --verbose');
  }
}

function welcome(stack: Stack, elapsedMs: number): string {
  const lines = [`\nHAL9 is up after ${(elapsedMs / 1000).toFixed(1)} s. API ${stack.url} (documentation at ${stack.url}/docs), data in ${stack.data}, logs in ${stack.data}/logs.`];
  if (stack.first !== undefined) lines.push('', `  export HAL9_URL=${stack.url} HAL9_API_KEY=${stack.first.apiKey}`, '', `Make the owner's account (once, within a week): ${invitationLink(stack.url, stack.first.ownerToken)}`);
  const body = JSON.stringify({ input: { incidentId: 'first-look', hostId: stack.hostId, dryRun: true } });
  lines.push(
    '',
    `Start a run:  curl -s -X POST $HAL9_URL/v1/workflows/remediate/runs -H "Authorization: Bearer $HAL9_API_KEY" -H "Content-Type: application/json" -d '${body}'`,
    'Watch it:     curl -s "$HAL9_URL/v1/runs?type=remediate&limit=1" -H "Authorization: Bearer $HAL9_API_KEY"',
    `Open the UI:  ${stack.temporalUiUrl ?? `${stack.url}/docs`} (asks for the API key)`,
    '',
    'Ctrl-C stops everything.',
  );
  return lines.join('\n');
}

function report(event: ProcessEvent, print: (line: string) => void): void {
  switch (event.type) {
    case 'ended':
      print(`  ${event.name} (process ${event.pid}) ended by ${event.how}; starting it again`);
      break;
    case 'ready':
      print(`  ${event.name} is back as process ${event.pid}`);
      break;
    case 'restart-failed':
      print(`  ${event.name} could not be started again: ${event.reason}`);
      break;
    case 'launched':
      break;
  }
}
