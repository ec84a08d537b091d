import type { AuditCheckpointStore, CheckpointWork, NewCheckpoint } from '../../database/audit-checkpoints.ts';
import { auditOrigin, checkpointText } from '../../schemas/audit/note.ts';
import { consistencyRanges } from '../../schemas/audit/tree.ts';
import type { NoteSigner } from './signer.ts';
import { WitnessRefusal, type Witness } from './witness.ts';

/** Signs the log as it is, has the witness remember it, and keeps a copy for readers. */
export class Checkpoints {
  readonly #store: AuditCheckpointStore;
  readonly #signer: NoteSigner;
  readonly #witness: Witness;

  constructor(store: AuditCheckpointStore, signer: NoteSigner, witness: Witness) {
    this.#store = store;
    this.#signer = signer;
    this.#witness = witness;
  }

  /**
   * Makes a checkpoint of the log, unless another process is at it.
   * @throws {WitnessRefusal} when the log is not the one that was witnessed, grown; {AuditHoleError} when a part of it is gone.
   */
  async make(orgId: string): Promise<void> {
    await this.#store.checkpointAcrossOrganisations(orgId, (log) => this.#checkpoint(orgId, log));
  }

  async #checkpoint(orgId: string, { head, roots }: CheckpointWork): Promise<NewCheckpoint | undefined> {
    const origin = auditOrigin(orgId);
    const last = await this.#witness.latest(origin);
    if (head.size === 0n && last === undefined) return undefined;
    if (last !== undefined && last.size > head.size) throw new WitnessRefusal(`the log has ${head.size} entries, ${last.size} were witnessed`);
    const note = this.#signer.note(origin, checkpointText({ origin, ...head }));
    const proof = last === undefined ? [] : await roots(consistencyRanges({ start: 0n, end: last.size }, head.size));
    const log = this.#signer.logKey(origin);
    return { size: head.size, note: await this.#witness.add({ note, log, proof }), signer: String(log), witness: String(this.#witness.key) };
  }
}
