import { runBenchCommand } from '../bench/command.ts';

await runBenchCommand('chaos', import.meta.dirname);
