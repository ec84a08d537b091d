import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { BadProof, parseProof, verifyProof } from '../clients/anchor/verify.ts';

const USAGE = `Usage: hal9 anchor verify PROOF [--rpc URL] [--json]

Checks the proof of GET /v1/anchor-streams/{id}/proofs/{hash} without a server; with --rpc also that the chain has it.
Exit code: 0 it is so, 1 it is not, 2 the file cannot be read or the node does not answer.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: { rpc: { type: 'string' }, json: { type: 'boolean', default: false } } });
    const [verb, file] = positionals;
    if (verb !== 'verify' || file === undefined || positionals.length > 2) {
      process.stderr.write(USAGE);
      return 2;
    }
    const proof = parseProof(await readFile(file, 'utf8'));
    const verdict = await verifyProof(proof, values.rpc);
    const ok = verdict.included && verdict.anchored !== false;
    process.stdout.write(values.json ? `${JSON.stringify({ ok, ...verdict })}\n` : `${ok ? 'ok' : 'NOT PROVEN'}: ${verdict.detail}\n`);
    return ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    process.stderr.write(`${error instanceof BadProof ? error.message : `cannot verify: ${error.message}`}\n`);
    return 2;
  }
}
