import { givenPath } from '../given-path.ts';
import { judgeCases, readLabelledCases } from './labelled-cases.ts';

const { path, json } = givenPath('cases', 'npm run -s judge -- --cases FILE [--json]');
const outcome = judgeCases(await readLabelledCases(path));
if (json) process.stdout.write(`${JSON.stringify(outcome)}\n`);
else {
  process.stdout.write(`${outcome.right} of ${outcome.total} right\n`);
  for (const { n, name, expected, found } of outcome.wrong) process.stdout.write(`wrong: ${n} ${name}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}\n`);
}
process.exitCode = outcome.wrong.length === 0 ? 0 : 1;
