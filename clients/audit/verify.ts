import { CHAIN_START, lineHash, parseWitnessLine } from '../../schemas/audit/witness-file.ts';
import { exportLine, type ExportHeader, type ExportLine } from '../../schemas/audit/export.ts';
import { LogCheck, signedCheckpoint, type Finding } from '../../schemas/audit/log-check.ts';
import { parseNote, VerifierKey, type Checkpoint } from '../../schemas/audit/note.ts';

/** The files cannot be read as what they should be; nothing is said about the log. */
export class BadInput extends Error {
  override readonly name = 'BadInput';
}

export interface VerifyOptions {
  /** Lines of an export of `GET /v1/audit/export`. */
  readonly lines: AsyncIterable<string> | Iterable<string>;
  /** The log's verifier key, kept since the installation was set up. */
  readonly logKey: string;
  /** Lines of the witness's file of this log, taken no later than the export. */
  readonly witness?: { readonly lines: AsyncIterable<string> | Iterable<string>; readonly key: string } | undefined;
}

export interface Verdict {
  readonly origin: string;
  /** Numbers of the entries examined; `to` is exclusive. */
  readonly from: number;
  readonly to: number;
  /** The log is proven to be what was signed up to this number, exclusive. */
  readonly proven: number;
  readonly checkpoints: number;
  /** Whether checkpoints kept outside the database were among them. */
  readonly witnessed: boolean;
  readonly findings: readonly Finding[];
}

/**
 * Recomputes an exported audit log from nothing: every leaf, every root, every signature.
 * @throws {BadInput} when a file is malformed or cut off, or a key is none.
 */
export async function verifyExport(options: VerifyOptions): Promise<Verdict> {
  const key = parseKey(options.logKey);
  const findings: Finding[] = [];
  const witnessed = options.witness === undefined ? [] : await readWitness(options.witness, key, findings);
  let header: ExportHeader | undefined;
  let check: LogCheck | undefined;
  let ended = false;
  let number = 0;
  for await (const text of options.lines) {
    number++;
    if (text === '') continue;
    if (ended) throw new BadInput(`line ${number} follows the end of the export`);
    const line = parseLine(text, number);
    if (header === undefined || check === undefined) {
      if (line.kind !== 'header') throw new BadInput('the export does not begin with its header');
      header = line;
      check = begin(line, key, witnessed);
      continue;
    }
    switch (line.kind) {
      case 'header':
        throw new BadInput(`line ${number} is a second header`);
      case 'entry':
        check.entry(line.entry, Buffer.from(line.leafHash, 'base64'), line.personal);
        break;
      case 'checkpoint':
        check.checkpoint(line.note, key);
        break;
      case 'end':
        ended = true;
        if (check.next < header.size) findings.push({ kind: 'cut', entries: { first: check.next, last: header.size - 1 }, detail: `the log should have ${header.size} entries` });
        break;
    }
  }
  if (header === undefined || check === undefined || !ended) throw new BadInput('the export was cut off on its way: its last line is missing');
  check.end();
  findings.push(...check.findings);
  return { origin: header.origin, from: header.from, to: check.next, proven: check.proven.entries, checkpoints: check.proven.checkpoints, witnessed: witnessed.length > 0, findings };
}

function begin(header: ExportHeader, key: VerifierKey, witnessed: readonly Checkpoint[]): LogCheck {
  if (header.origin !== key.name) throw new BadInput(`the key is of ${key.name}, the export of ${header.origin}`);
  try {
    return new LogCheck({ orgId: header.orgId, from: header.from, roots: header.roots.map((root) => Buffer.from(root, 'base64')), witnessed });
  } catch (error) {
    throw new BadInput(`the header is wrong: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readWitness(witness: NonNullable<VerifyOptions['witness']>, logKey: VerifierKey, findings: Finding[]): Promise<Checkpoint[]> {
  const key = parseKey(witness.key);
  const seen: Checkpoint[] = [];
  let previous = CHAIN_START;
  let number = 0;
  for await (const line of witness.lines) {
    number++;
    if (line === '') continue;
    try {
      const note = parseWitnessLine(line, previous);
      const checkpoint = signedCheckpoint(note, logKey);
      const last = seen.at(-1);
      if (checkpoint === undefined) findings.push({ kind: 'witness', detail: `line ${number} of the witness is not signed by the log's key` });
      else if (!key.hasSigned(parseNote(note))) findings.push({ kind: 'witness', detail: `line ${number} of the witness is not signed by the witness's key` });
      else if (last !== undefined && checkpoint.size <= last.size) findings.push({ kind: 'witness', detail: `line ${number} of the witness goes back from ${last.size} to ${checkpoint.size} entries` });
      else seen.push(checkpoint);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      findings.push({ kind: 'witness', detail: `line ${number} of the witness: ${error.message}` });
    }
    previous = lineHash(line);
  }
  return seen;
}

function parseLine(text: string, number: number): ExportLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadInput(`line ${number} is not JSON`);
  }
  const parsed = exportLine.safeParse(value);
  if (!parsed.success) throw new BadInput(`line ${number} is not a line of an export: ${parsed.error.issues[0]?.path.join('.') ?? ''} ${parsed.error.issues[0]?.message ?? ''}`);
  return parsed.data;
}

function parseKey(text: string): VerifierKey {
  try {
    return VerifierKey.parse(text);
  } catch (error) {
    throw new BadInput(error instanceof Error ? error.message : String(error));
  }
}
