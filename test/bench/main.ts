import { runBenchCommand } from './command.ts';

await runBenchCommand('bench', import.meta.dirname);
