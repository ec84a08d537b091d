import { commitTo, encodeEntry, PERSONAL_FIELDS, type AuditEntry, type OpenedFields } from './entry.ts';
import { hashLeaf } from './merkle.ts';
import { parseCheckpoint, parseNote, type Checkpoint, type VerifierKey } from './note.ts';
import { GrowingTree } from './tree.ts';

/** What was found, in the words of whoever has to look into it. */
export interface Finding {
  /**
   * `changed`: an entry is not what was hashed. `missing`, `misplaced`: numbers are lacking, or twice, or out of order. `rewritten`:
   * the entries were hashed anew and are not those of a signed checkpoint. `cut`: the log ends before what was witnessed.
   * `personal`: a personal value is not the one committed to. `foreign`: an entry of another organisation. `checkpoint`: its
   * signature is not right, or two of them contradict each other. `witness`: the witness's file was changed.
   */
  readonly kind: 'changed' | 'missing' | 'misplaced' | 'rewritten' | 'cut' | 'personal' | 'foreign' | 'checkpoint' | 'witness';
  /** First and last entry it is about, if it is about entries. */
  readonly entries?: { readonly first: number; readonly last: number };
  readonly detail: string;
}

export interface LogCheckOptions {
  readonly orgId: string;
  /** Number of the first entry, and the roots of the perfect subtrees before it. */
  readonly from: number;
  readonly roots: readonly Uint8Array[];
  /** Checkpoints of this log kept outside the database, in any order. */
  readonly witnessed: readonly Checkpoint[];
}

/** Compares an entry after the other, and the tree they make, with what was signed. Needs neither a server nor a database. */
export class LogCheck {
  readonly #orgId: string;
  readonly #tree: GrowingTree;
  /** Root by size. */
  readonly #witnessed: Map<number, Uint8Array>;
  readonly findings: Finding[] = [];
  #next: number;
  /** Size up to which a checkpoint proved the log right. */
  #proven: number;
  #checkpoints = 0;
  /** Since when the tree cannot be right any more: entries are missing, or were hashed anew. */
  #isBroken = false;

  constructor({ orgId, from, roots, witnessed }: LogCheckOptions) {
    this.#orgId = orgId;
    this.#tree = new GrowingTree(BigInt(from), roots);
    this.#next = from;
    this.#proven = from;
    this.#witnessed = new Map();
    for (const { size, root } of witnessed) {
      const known = this.#witnessed.get(Number(size));
      if (known !== undefined && Buffer.compare(known, root) !== 0) this.#find('checkpoint', `two checkpoints of ${String(size)} entries contradict each other`);
      this.#witnessed.set(Number(size), root);
    }
    this.#compareWitnessed();
  }

  /** Number the next entry should have. */
  get next(): number {
    return this.#next;
  }

  /** Entries that a checkpoint proves, and checkpoints compared. Later entries are only hashed. */
  get proven(): { readonly entries: number; readonly checkpoints: number } {
    return { entries: this.#proven, checkpoints: this.#checkpoints };
  }

  entry(entry: AuditEntry, leafHash: Uint8Array, opened: OpenedFields): void {
    const { seq } = entry;
    const only = { first: seq, last: seq };
    if (entry.orgId !== this.#orgId) this.#find('foreign', `the entry belongs to the organisation ${entry.orgId}`, only);
    if (seq > this.#next) {
      this.#find('missing', `entries are missing before ${String(seq)}`, { first: this.#next, last: seq - 1 });
      this.#isBroken = true;
    } else if (seq < this.#next) {
      this.#find('misplaced', `the number is there twice or out of order, ${String(this.#next)} was next`, only);
      this.#isBroken = true;
    }
    if (Buffer.compare(hashLeaf(encodeEntry(entry)), leafHash) !== 0) this.#find('changed', 'its content is not what was hashed when it was numbered', only);
    for (const field of PERSONAL_FIELDS) {
      const value = opened[field];
      if (value !== undefined && commitTo(field, Buffer.from(value.salt, 'hex'), value.value) !== entry.commitments[field]) this.#find('personal', `${field} is not the value the entry commits to`, only);
    }
    this.#next = Math.max(this.#next, seq + 1);
    if (this.#isBroken) return;
    this.#tree.append(leafHash);
    this.#compareWitnessed();
  }

  /** A checkpoint that the log's own key signed, for the size the log has now. */
  checkpoint(note: string, key: VerifierKey): void {
    const checkpoint = signedCheckpoint(note, key);
    if (checkpoint === undefined) return this.#find('checkpoint', `the checkpoint after entry ${String(this.#next - 1)} is not signed by the key given`);
    const witnessed = this.#witnessed.get(Number(checkpoint.size));
    if (witnessed !== undefined) {
      if (Buffer.compare(witnessed, checkpoint.root) !== 0) this.#find('checkpoint', `the log and its witness have different checkpoints of ${String(checkpoint.size)} entries`);
      return;
    }
    this.#compare(checkpoint);
  }

  /** To be called when the log has no further entries. */
  end(): void {
    const farthest = Math.max(0, ...this.#witnessed.keys());
    if (farthest > this.#next) this.#find('cut', `the log ends before the ${String(farthest)} entries that were witnessed`, { first: this.#next, last: farthest - 1 });
  }

  #compareWitnessed(): void {
    const root = this.#witnessed.get(Number(this.#tree.size));
    if (root !== undefined) this.#compare({ size: this.#tree.size, root });
  }

  #compare({ size, root }: Pick<Checkpoint, 'size' | 'root'>): void {
    if (this.#isBroken || size !== this.#tree.size) return;
    this.#checkpoints++;
    if (Buffer.compare(root, this.#tree.root) === 0) {
      this.#proven = Number(size);
      return;
    }
    this.#isBroken = true;
    this.#find('rewritten', `the entries are not those of the checkpoint of ${String(size)} entries: some were added, removed, moved or changed and all hashed anew`, { first: this.#proven, last: Math.max(this.#proven, Number(size) - 1) });
  }

  #find(kind: Finding['kind'], detail: string, entries?: Finding['entries']): void {
    this.findings.push(entries === undefined ? { kind, detail } : { kind, entries, detail });
  }
}

/** The checkpoint of a note, when the key signed it and names its log. */
export function signedCheckpoint(note: string, key: VerifierKey): Checkpoint | undefined {
  try {
    const signed = parseNote(note);
    const checkpoint = parseCheckpoint(signed.text);
    return key.hasSigned(signed) && checkpoint.origin === key.name ? checkpoint : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
