import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** A fault of the demo: burns every core until it is ended, or for two minutes. More threads than cores, so that it shows beside other work too. */
const THREADS = 4 * availableParallelism();
const END_MS = 120_000;
for (let thread = 0; thread < THREADS; thread += 1) {
  new Worker('for (;;) { Math.sqrt(Math.random()); }', { eval: true });
}
setTimeout(() => process.exit(0), END_MS);
process.stdout.write('ready\n');
