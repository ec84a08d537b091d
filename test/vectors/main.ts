import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { verifyVectors } from './verify.ts';

const USAGE = 'npm run -s verify:vectors -- --dir DIR [--json]';

function options(): { dir: string; json: boolean } | undefined {
  try {
    const { values } = parseArgs({ options: { dir: { type: 'string' }, json: { type: 'boolean', default: false } } });
    return values.dir === undefined ? undefined : { dir: resolve(values.dir), json: values.json };
  } catch {
    return undefined; // the usage says what is possible
  }
}

const given = options();
if (given === undefined) {
  process.stderr.write(`Usage: ${USAGE}\n`);
  process.exit(2);
}
const outcomes = await verifyVectors(given.dir);
if (given.json) process.stdout.write(`${JSON.stringify(outcomes)}\n`);
else {
  const table = new Table({ head: ['set', 'total', 'right', 'wrong', 'left out', 'disputed'], style: { head: [], border: [] } });
  for (const [name, { total, right, wrong, leftOut, disputed }] of Object.entries(outcomes)) table.push([name, total, right, wrong.length, leftOut ?? 0, disputed?.length ?? 0]);
  process.stdout.write(`${table.toString()}\n`);
  for (const [name, { disputed = [] }] of Object.entries(outcomes)) for (const one of disputed) process.stdout.write(`disputed: ${name}: ${one}\n`);
  for (const [name, { wrong }] of Object.entries(outcomes)) for (const one of wrong) process.stdout.write(`wrong: ${name}: ${one}\n`);
}
process.exitCode = Object.values(outcomes).some(({ wrong }) => wrong.length > 0) ? 1 : 0;
