import { freemem, totalmem } from 'node:os';

/** A fault of the demo: takes memory step by step up to a bound that leaves the machine alive, and keeps it for two minutes. */
const MIB = 1024 * 1024;
const BOUND = Math.min(4608 * MIB, totalmem() / 4, freemem() * 0.6);
const STEP = 96 * MIB;
const END_MS = 120_000;
const held: Buffer[] = [];
const timer = setInterval(() => {
  if (held.length * STEP >= BOUND) clearInterval(timer);
  // Filled, or the kernel would not hand the pages out.
  else held.push(Buffer.alloc(STEP, 1));
}, 40);
setTimeout(() => process.exit(held.length > 0 ? 0 : 1), END_MS);
process.stdout.write('ready\n');
