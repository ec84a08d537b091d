import Table from 'cli-table3';
import { givenPath } from '../given-path.ts';
import { verifyVectors } from './verify.ts';

const { path, json } = givenPath('dir', 'npm run -s verify:vectors -- --dir DIR [--json]');
const outcomes = await verifyVectors(path);
if (json) process.stdout.write(`${JSON.stringify(outcomes)}\n`);
else {
  const table = new Table({ head: ['set', 'total', 'right', 'wrong', 'left out', 'disputed'], style: { head: [], border: [] } });
  for (const [name, { total, right, wrong, leftOut, disputed }] of Object.entries(outcomes)) table.push([name, total, right, wrong.length, leftOut ?? 0, disputed?.length ?? 0]);
  process.stdout.write(`${table.toString()}\n`);
  for (const [name, { disputed = [] }] of Object.entries(outcomes)) for (const one of disputed) process.stdout.write(`disputed: ${name}: ${one}\n`);
  for (const [name, { wrong }] of Object.entries(outcomes)) for (const one of wrong) process.stdout.write(`wrong: ${name}: ${one}\n`);
}
process.exitCode = Object.values(outcomes).some(({ wrong }) => wrong.length > 0) ? 1 : 0;
