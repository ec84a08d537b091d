import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { verifyReceipt, type ReceiptVerdict } from '../clients/privacy/verify-receipt.ts';

const USAGE = `Usage: hal9 privacy verify-receipt FILE --key KEY [--json]

Checks the receipt of an erasure without a server. FILE: the JWS, or the answer of GET /v1/privacy/erasures/{id}/receipt.
KEY: the log's verifier key (GET /v1/audit/keys), or a file that holds it.
Exit code: 0 the receipt is right, 1 it is not, 2 the files cannot be read.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: { key: { type: 'string' }, json: { type: 'boolean', default: false } } });
    const [verb, file] = positionals;
    if (verb !== 'verify-receipt' || file === undefined || positionals.length > 2 || values.key === undefined) {
      process.stderr.write(USAGE);
      return 2;
    }
    const verdict = await verifyReceipt(jwsOf(await readFile(file, 'utf8')), values.key.includes('+') ? values.key : await readFile(values.key, 'utf8'));
    process.stdout.write(values.json ? `${JSON.stringify(verdict)}\n` : page(verdict));
    return verdict.ok ? 0 : 1;
  } catch (error) {
    // Files that are not there, options that do not exist and keys that are none.
    if (!(error instanceof Error) || !(error instanceof TypeError || 'code' in error)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
}

/** The API wraps the JWS in JSON. */
function jwsOf(text: string): string {
  if (!text.trimStart().startsWith('{')) return text;
  try {
    const content: unknown = JSON.parse(text);
    return typeof content === 'object' && content !== null && 'receipt' in content && typeof content.receipt === 'string' ? content.receipt : text;
  } catch {
    return text; // the verifier says what it is not
  }
}

function page(verdict: ReceiptVerdict): string {
  if (!verdict.ok) return `NOT RIGHT ${verdict.problem}: ${verdict.detail}\n`;
  const { statement, entry, checkpoint } = verdict;
  const tables = statement.tables.map(({ source, table, method, rows, shared, why }) => `  ${source} ${table}: ${rows} rows, ${method}${shared > 0 ? `; ${shared} stay, for rows of others point at them` : ''}${method === 'none' ? ` (${why})` : ''}`);
  const kept = statement.kept.map(({ source, table, column, rows, why }) => `  kept ${source} ${table} ${column}: ${rows} rows (${why})`);
  return `${[`ok: erasure ${statement.erasureId} was complete on ${statement.finishedAt}; entry ${entry} of the audit log, signed at ${checkpoint} entries`, ...tables, ...kept].join('\n')}\n`;
}
