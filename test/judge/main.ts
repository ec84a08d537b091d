import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { judgeCases, readLabelledCases } from './labelled-cases.ts';

const USAGE = 'npm run -s judge -- --cases FILE [--json]';

function options(): { cases: string; json: boolean } | undefined {
  try {
    const { values } = parseArgs({ options: { cases: { type: 'string' }, json: { type: 'boolean', default: false } } });
    return values.cases === undefined ? undefined : { cases: resolve(values.cases), json: values.json };
  } catch {
    return undefined; // the usage says what is possible
  }
}

const given = options();
if (given === undefined) {
  process.stderr.write(`Usage: ${USAGE}\n`);
  process.exit(2);
}
const outcome = judgeCases(await readLabelledCases(given.cases));
if (given.json) process.stdout.write(`${JSON.stringify(outcome)}\n`);
else {
  process.stdout.write(`${outcome.right} of ${outcome.total} right\n`);
  for (const { n, name, expected, found } of outcome.wrong) process.stdout.write(`wrong: ${n} ${name}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}\n`);
}
process.exitCode = outcome.wrong.length === 0 ? 0 : 1;
