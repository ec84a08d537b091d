import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A fault of the demo: writes temporary files into the folder given, at most 640 MiB, and keeps the last one open. */
const MIB = 1024 * 1024;
const FILE = 16 * MIB;
const FILES = 40;
const END_MS = 120_000;
const folder = process.argv[2];
if (folder === undefined) throw new Error('say which folder');
setTimeout(() => process.exit(0), END_MS);
process.stdout.write('ready\n');
const content = Buffer.alloc(FILE, 1);
let last;
for (let n = 0; n < FILES; n += 1) {
  await last?.close();
  last = await open(join(folder, `export-${process.pid}-${n}.demo-scratch`), 'w');
  await last.write(content);
  await sleep(150);
}
