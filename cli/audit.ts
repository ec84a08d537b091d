import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { BadInput, verifyExport, type Verdict } from '../clients/audit/verify.ts';

const USAGE = `Usage: hal9 audit verify EXPORT --key KEY [--witness FILE --witness-key KEY] [--json]

Checks an exported audit log without a server. A KEY is a verifier key, or a file that holds one.
Exit code: 0 the log is what was signed, 1 it was tampered with, 2 the files cannot be read.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { key: { type: 'string' }, witness: { type: 'string' }, 'witness-key': { type: 'string' }, json: { type: 'boolean', default: false } },
    });
    const [verb, file] = positionals;
    const { key, witness, 'witness-key': witnessKey } = values;
    if (verb !== 'verify' || file === undefined || positionals.length > 2 || key === undefined || (witness === undefined) !== (witnessKey === undefined)) {
      process.stderr.write(USAGE);
      return 2;
    }
    const verdict = await verifyExport({
      lines: linesOf(file),
      logKey: await keyOf(key),
      witness: witness === undefined || witnessKey === undefined ? undefined : { lines: linesOf(witness), key: await keyOf(witnessKey) },
    });
    process.stdout.write(values.json ? `${JSON.stringify({ ok: verdict.findings.length === 0, ...verdict })}\n` : report(verdict));
    return verdict.findings.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // Files that are not there and options that do not exist are bad input like malformed ones.
    if (!(error instanceof BadInput) && !('code' in error)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
}

/** Lines end with a newline and nothing else: readline would also cut at U+2028, which JSON may hold. */
async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of createReadStream(file, 'utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  yield rest;
}

async function keyOf(text: string): Promise<string> {
  return text.includes('+') ? text : readFile(text, 'utf8');
}

function report(verdict: Verdict): string {
  const { origin, from, to, proven, checkpoints, witnessed, findings } = verdict;
  const lines = [`${origin}: entries ${from} to ${to - 1}, ${checkpoints} checkpoints${witnessed ? ', compared with the witness' : ''}`];
  for (const { kind, entries, detail } of findings) lines.push(`TAMPERED ${kind}${entries === undefined ? '' : entries.first === entries.last ? ` entry ${entries.first}` : ` entries ${entries.first} to ${entries.last}`}: ${detail}`);
  if (findings.length === 0) {
    lines.push(`ok: the first ${proven} entries are what was signed`);
    if (proven < to) lines.push(`entries ${proven} to ${to - 1} are newer than the last checkpoint and not proven yet`);
    if (!witnessed) lines.push('note: without the witness\'s file a log cut back to an earlier checkpoint looks whole');
  }
  return `${lines.join('\n')}\n`;
}
