import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { UsageError } from './exit-code.ts';
import { openSession } from './session.ts';

/** `hal9 record`: keeps what a run decided, so that every later build of its workflow is held to it. */
export function addRecordCommand(program: Command): void {
  const command = new Command('record')
    .description('Keep the history of a run in test/histories, where `hal9 check` replays it; test data only, it is not encrypted')
    .argument('<runId>')
    .argument('<case>', 'what the run shows, in small letters: `happy-path`')
    .option('--out <folder>', 'where to', join('test', 'histories'));
  command.action(async (runId: string, name: string) => {
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) throw new UsageError(`${name} is no name of a case: use small letters, digits and dashes`);
    const { client, terminal } = await openSession(command);
    const recording = await client.call('getRunRecording', { params: { id: runId } });
    const file = join(command.opts<{ out: string }>().out, `${runId.slice(0, runId.indexOf('~'))}-${name}.json`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, `${JSON.stringify(recording, undefined, 1)}\n`);
    terminal.show({ file });
  });
  program.addCommand(command);
}
