import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { readCatalog, sampleColumns } from '../../activities/privacy/postgres-catalog.ts';
import { readAnnotations } from '../../platform/privacy/annotation-file.ts';
import { makeDataMap, reportOf, type DataMapReport } from '../../platform/privacy/data-map.ts';
import { HalError } from '../../schemas/errors.ts';
import { runCommand } from './command.ts';
import { withScratchDatabase } from './scratch-database.ts';
import { SetupError, systemCode } from './setup-error.ts';
import { ScriptError } from './sql-script.ts';

const USAGE = `Usage: npm run -s privacy -- map --sql FILE --dataset FILE [--json]

Where people are found in a schema, and in which order they are erased. FILE: any PostgreSQL SQL, loaded into a database that is
gone afterwards; annotations of HAL9, or a dataset of Fides.
Exit code: 0 an erasure could begin, 1 it would be refused (see \`refused\`), 2 the files cannot be used.
`;

await runCommand(async () => {
  const options = parse(process.argv.slice(2));
  if (options === undefined) {
    process.stderr.write(USAGE);
    process.exitCode = 2;
    return;
  }
  try {
    const annotations = readAnnotations(await text(options.dataset));
    const report = await withScratchDatabase(await text(options.sql), async ({ client, passedOver }) => {
      const catalog = await readCatalog(client);
      const first = makeDataMap(catalog, annotations);
      const unknown = [...first.schema.tables.values()].map(({ id, relation, fields }) => ({ id, relation, columns: relation.columns.filter(({ name }) => !fields.some(({ path }) => path[0] === name)) }));
      return { ...reportOf(makeDataMap(catalog, annotations, await sampleColumns(client, unknown))), passedOver };
    });
    process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : page(report));
    process.exitCode = report.ok ? 0 : 1;
  } catch (error) {
    const reason = unusable(error);
    if (reason === undefined) throw error;
    if (options.json) process.stdout.write(`${JSON.stringify({ ok: false, refused: [{ severity: 'refusal', code: 'unusable', table: null, column: null, reason }] }, null, 2)}\n`);
    process.stderr.write(`${reason}\n`);
    process.exitCode = 2;
  }
});

function parse(args: readonly string[]): { sql: string; dataset: string; json: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: { sql: { type: 'string' }, dataset: { type: 'string' }, json: { type: 'boolean', default: false } } });
    const { sql, dataset, json } = values;
    return sql === undefined || dataset === undefined || positionals.length !== 1 || positionals[0] !== 'map' ? undefined : { sql, dataset, json };
  } catch {
    return undefined; // the usage says what is possible
  }
}

async function text(file: string): Promise<string> {
  const bytes = await readFile(file);
  return bytes.toString('utf8');
}

/** What is wrong with the files, in a sentence; undefined for what is wrong with HAL9. */
function unusable(error: unknown): string | undefined {
  if (error instanceof HalError || error instanceof ScriptError || error instanceof SetupError) return error.message;
  return systemCode(error) !== undefined && error instanceof Error && 'path' in error ? error.message : undefined;
}

function page(report: DataMapReport & { passedOver: readonly { line: number; reason: string }[] }): string {
  const plain = { style: { head: [], border: [] } };
  const reached = new Table({ head: ['step', 'table', 'found by'], ...plain });
  for (const { step, table, identities, from } of report.traversal) reached.push([step, table, [...identities, ...from.map(({ on }) => on)].join('\n')]);
  const erased = new Table({ head: ['step', 'table', 'method', 'what'], ...plain });
  for (const { step, together, tables } of report.erasure) {
    for (const { table, method, why, mask } of tables) {
      const what = method === 'mask' ? mask.map(({ column, masking }) => `${column}: ${masking.strategy}`).join('\n') : why;
      erased.push([step, `${table}${together === null ? '' : '\n(one transaction)'}`, method, what]);
    }
  }
  const findings = report.findings.map(({ severity, code, table, column, reason }) => `${severity} ${code}${table === null ? '' : ` ${table}${column === null ? '' : ` ${column}`}`}: ${reason}`);
  const passed = report.passedOver.map(({ line, reason }) => `note line ${line} of the SQL was passed over: ${reason}`);
  return `${['Where people are found', reached.toString(), '', 'Order of an erasure', erased.toString(), '', ...findings, ...passed, report.ok ? 'An erasure could begin.' : 'An erasure would be refused.'].join('\n')}\n`;
}
