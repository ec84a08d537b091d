import { randomUUID } from 'node:crypto';
import { AuditActStore } from '../../database/audit-acts.ts';
import { BrowserBaselineStore, type BrowserBaseline } from '../../database/browser-baselines.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import { actOf } from '../audit/act.ts';
import { blobsUnder, isBlobRef, type BlobStore } from '../blobs/blob-store.ts';
import type { Caller } from '../identity/caller.ts';
import { BrowserEvidence } from './evidence.ts';
import { labelled, sizeOf } from './png.ts';

/** Pictures that steps of browser flows are compared with, for people who keep them right. */
export class BrowserBaselines {
  readonly #store: BrowserBaselineStore;
  readonly #acts: AuditActStore;
  readonly #evidence: Pick<BrowserEvidence, 'step'>;
  readonly #blobs: BlobStore;

  constructor({ database, blobs }: { database: Database; blobs: BlobStore }) {
    this.#store = new BrowserBaselineStore(database);
    this.#acts = new AuditActStore(database);
    this.#evidence = new BrowserEvidence({ database, blobs });
    this.#blobs = blobs;
  }

  /** In the order of their ids. @param after id of the last of the page before. */
  async list(caller: Caller, filter: { readonly flow?: string | undefined }, limit: number, after?: string): Promise<BrowserBaseline[]> {
    return this.#store.list(caller.orgId, filter, limit, after);
  }

  /** That it was looked at is on record. @throws {HalError} NotFound. */
  async picture(caller: Caller, id: string): Promise<Buffer> {
    const { picture } = await this.#get(caller, id);
    const bytes = await this.#blobs.get(caller.orgId, blobOf(picture));
    await this.#acts.record(actOf(caller, 'browser.picture', { kind: 'browser-baseline', id }));
    return bytes;
  }

  /**
   * Makes the picture that a step compared the baseline for its flow, name and size.
   * @throws {HalError} NotFound without such a step; Conflict when it compared nothing, or its picture was not kept.
   */
  async accept(caller: Caller, runId: string, seq: number): Promise<BrowserBaseline> {
    const { orgId } = caller;
    const { comparison, actual, flow, key } = await this.#evidence.step(caller, runId, seq);
    if (comparison === null || flow === null) throw new HalError('Conflict', 'the step compared no picture');
    if (!isBlobRef(actual)) throw new HalError('Conflict', 'the picture was not kept: the flow wants no evidence');
    const place = { flow, name: comparison.name, viewport: comparison.viewport };
    // A picture that shows a person is sealed with their key, as the run's evidence is.
    const blobs = blobsUnder(this.#blobs, parseRunId(runId)?.keyId);
    const id = (await this.#store.find(orgId, place))?.id ?? randomUUID();
    const png = labelled(await blobs.get(orgId, actual), id);
    const picture = await blobs.put(orgId, png);
    const { baseline, before } = await this.#store.accept(orgId, { ...place, ...sizeOf(png), id, picture, runId, stepKey: key }, (of) => actOf(caller, 'browser.baseline', { kind: 'browser-baseline', id: of }, { run: runId, step: seq }));
    if (isBlobRef(before) && before !== picture) await blobs.delete(orgId, before);
    return baseline;
  }

  /** The next picture of its flow, name and size becomes the baseline. @throws {HalError} NotFound. */
  async remove(caller: Caller, id: string): Promise<void> {
    const { picture } = await this.#get(caller, id);
    await this.#blobs.delete(caller.orgId, blobOf(picture));
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'browser.baseline-delete', { kind: 'browser-baseline', id })))) throw new HalError('NotFound', 'there is no such baseline');
  }

  async #get(caller: Caller, id: string): Promise<BrowserBaseline> {
    const baseline = await this.#store.get(caller.orgId, id);
    if (baseline === undefined) throw new HalError('NotFound', 'there is no such baseline');
    return baseline;
  }
}

function blobOf(reference: string): `blob:${string}` {
  if (!isBlobRef(reference)) throw new HalError('Internal', 'a baseline is no blob reference');
  return reference;
}
