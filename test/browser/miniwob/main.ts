import { parseArgs } from 'node:util';
import { launchChromium } from '../../../activities/browser/chromium.ts';
import { SetupError } from '../../../deploy/local/setup-error.ts';
import { runCommand } from '../../../deploy/local/command.ts';
import { playTasks } from './tasks.ts';

/**
 * `browser:miniwob --dir DIR --flows DIR`: plays each flow (`<task>.yaml`) over several seeds on the pages of MiniWoB++.
 * A task is solved when every seed ends with reward 1. With `--renamed` the pages have other ids and classes than the flows were written for.
 */
await runCommand(async (signal) => {
  const { values } = parseArgs({
    options: { dir: { type: 'string' }, flows: { type: 'string' }, seeds: { type: 'string', default: '5' }, task: { type: 'string', multiple: true }, renamed: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
  });
  if (values.dir === undefined) throw new SetupError('it is not said where the pages are', 'give --dir DIR, the `html` folder of the package miniwob 1.1.0 (pip download --no-deps miniwob==1.1.0, then unzip the wheel)');
  const browser = await launchChromium({ executablePath: process.env['HAL9_CHROMIUM'] });
  try {
    const outcome = await playTasks({
      browser,
      dir: values.dir,
      ...(values.flows === undefined ? {} : { flows: values.flows }),
      tasks: values.task,
      seeds: Number(values.seeds),
      renamed: values.renamed,
      progress: (message) => void process.stderr.write(`${message}\n`),
      signal,
    });
    process.stdout.write(values.json ? `${JSON.stringify(outcome)}\n` : `${String(outcome.solved)} of ${String(outcome.tasks)} tasks solved, ${String(outcome.won)} of ${String(outcome.episodes)} episodes\n`);
    if (outcome.failed.length > 0) process.exitCode = 1;
  } finally {
    await browser.close();
  }
});
