import { constants } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { verifyConsistency } from '../../schemas/audit/merkle.ts';
import { checkpointText, parseCheckpoint, parseNote, type Checkpoint, type VerifierKey } from '../../schemas/audit/note.ts';
import { CHAIN_START, formatWitnessLine, lineHash, parseWitnessLine } from '../../schemas/audit/witness-file.ts';
import { NoteSigner } from './signer.ts';
import { WitnessRefusal, type Submission, type Witness } from './witness.ts';

const NAME = 'hal9-witness';

interface Seen {
  /** Bytes of the file that were read. */
  readonly bytes: number;
  readonly chain: string;
  readonly checkpoint: Checkpoint | undefined;
  readonly note: string;
}

const NOTHING: Seen = { bytes: 0, chain: CHAIN_START, checkpoint: undefined, note: '' };

/**
 * A witness that is a folder: a file for each log, only ever appended to and synced, each line chained to the one before, and
 * a key of its own. Put it where the database's administrators do not write. One process at a time adds to a file; whoever
 * calls sees to that.
 */
export class FileWitness implements Witness {
  readonly key: VerifierKey;
  readonly #folder: string;
  readonly #signer: NoteSigner;
  readonly #seen = new Map<string, Seen>();

  private constructor(folder: string, signer: NoteSigner) {
    this.#folder = folder;
    this.#signer = signer;
    this.key = signer.witnessKey(NAME);
  }

  /** Opens the folder, creating it and its key on first use. */
  static async open(folder: string): Promise<FileWitness> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new FileWitness(folder, await NoteSigner.fromFile(join(folder, 'witness.key')));
  }

  async latest(origin: string): Promise<Checkpoint | undefined> {
    return (await this.#read(origin)).checkpoint;
  }

  async add({ note, log, proof }: Submission): Promise<string> {
    const signed = parseNote(note);
    if (!log.hasSigned(signed)) throw new WitnessRefusal('the checkpoint is not signed by the log');
    const next = parseCheckpoint(signed.text);
    if (next.origin !== log.name) throw new WitnessRefusal('the checkpoint is of another log');
    const seen = await this.#read(next.origin);
    const last = seen.checkpoint;
    if (last !== undefined) {
      if (last.size === next.size && checkpointText(last) === checkpointText(next)) return seen.note;
      const continues = last.size < next.size && verifyConsistency({ size1: last.size, size2: next.size, root1: last.root, root2: next.root, proof });
      if (!continues) throw new WitnessRefusal(`the log of ${next.size} entries does not continue the one of ${last.size} that was witnessed`);
    }
    const cosigned = note + this.#signer.cosignature(NAME, signed.text, BigInt(Math.floor(Date.now() / 1000)));
    const line = formatWitnessLine(seen.chain, cosigned);
    await append(this.#file(next.origin), `${line}\n`, seen.bytes);
    this.#seen.set(next.origin, { bytes: seen.bytes + Buffer.byteLength(line) + 1, chain: lineHash(line), checkpoint: next, note: cosigned });
    return cosigned;
  }

  #file(origin: string): string {
    const name = origin.slice(origin.lastIndexOf('/') + 1);
    if (!/^[\w-]+$/.test(name)) throw new WitnessRefusal('the log has no name a file can have');
    return join(this.#folder, `${name}.log`);
  }

  /** Reads what was appended since, by this process or another. */
  async #read(origin: string): Promise<Seen> {
    const file = await openExisting(this.#file(origin));
    let seen = this.#seen.get(origin) ?? NOTHING;
    if (file === undefined) {
      if (seen.checkpoint !== undefined) throw new WitnessRefusal("the witness's file is gone");
      return seen;
    }
    try {
      const { size } = await file.stat();
      if (size < seen.bytes) throw new WitnessRefusal("the witness's file was cut");
      if (size === seen.bytes) return seen;
      const bytes = Buffer.alloc(size - seen.bytes);
      await file.read(bytes, 0, bytes.length, seen.bytes);
      for (let start = 0, end = bytes.indexOf(10); end >= 0; start = end + 1, end = bytes.indexOf(10, start)) seen = follow(seen, bytes.toString('utf8', start, end));
      this.#seen.set(origin, seen);
      return seen;
    } finally {
      await file.close();
    }
  }
}

function follow(seen: Seen, line: string): Seen {
  try {
    const note = parseWitnessLine(line, seen.chain);
    return { bytes: seen.bytes + Buffer.byteLength(line) + 1, chain: lineHash(line), checkpoint: parseCheckpoint(parseNote(note).text), note };
  } catch (error) {
    throw new WitnessRefusal("the witness's file was changed", { cause: error });
  }
}

async function openExisting(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** @param after length the file has; what a crash left of a line behind it is cut off. */
async function append(path: string, text: string, after: number): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND, 0o600);
  try {
    if ((await file.stat()).size > after) await file.truncate(after);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
