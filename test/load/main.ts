import { runCommand } from '../../deploy/local/command.ts';
import { measureAndPrint } from '../bench/command.ts';
import { run } from './load.ts';

/** Exit code 3 says that it became slower than its baseline. */
await runCommand((signal) => measureAndPrint('load', run, process.argv.slice(2), signal));
