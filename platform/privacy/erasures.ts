import { randomBytes } from 'node:crypto';
import { v7 } from 'uuid';
import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { ErasureStore, type ErasedTable, type ErasureRecord, type PrivacyPolicy } from '../../database/erasures.ts';
import { HalError } from '../../schemas/errors.ts';
import { ERASURE_RECHECK_SIGNAL } from '../../schemas/names/messages.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import contract from '../../schemas/operations/erasure.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { OperationsPort, RunsPort } from '../operations/contract.ts';
import { subjectHashes, type Identities } from './identities.ts';

const DAY_MS = 86_400_000;
const PURPOSE = 'erasure-subjects';
/** Erasures looked at together. */
const REVIVE_PAGE = 50;

/** A month, as Art. 12(3) GDPR gives; nobody is asked. */
export const DEFAULT_POLICY: PrivacyPolicy = { approvals: 0, deadlineDays: 30, remindDays: [14, 7, 2], connection: null };

const sealedSubject = z.object({ identities: z.record(z.string(), z.array(z.string())), maskKey: z.base64() });

/** Who is to be forgotten, and the key of the masks. Never logged. */
export interface ErasureSubject {
  readonly identities: Identities;
  readonly maskKey: Uint8Array;
}

/** Opens who an erasure is about. @throws {HalError} Conflict once it has ended. */
export async function openSubject(store: ErasureStore, keys: KeyRing, orgId: string, erasureId: string): Promise<ErasureSubject> {
  const sealed = await store.sealedSubject(orgId, erasureId);
  if (sealed === undefined) throw new HalError('Conflict', 'the erasure has ended, and nobody knows any more who it was about');
  const { identities, maskKey } = sealedSubject.parse(JSON.parse(keys.open(orgId, PURPOSE, sealed, erasureId).toString('utf8')));
  return { identities, maskKey: Buffer.from(maskKey, 'base64') };
}

type ErasureRuns = Pick<OperationsPort, 'start' | 'signal'> & Pick<RunsPort, 'describe'>;

/** Erasures of people: asked for, told of, taken up again. */
export class Erasures {
  readonly #store: ErasureStore;
  readonly #keys: KeyRing;
  readonly #operations: ErasureRuns;

  constructor({ database, keys, operations }: { readonly database: Database; readonly keys: KeyRing; readonly operations: ErasureRuns }) {
    this.#store = new ErasureStore(database);
    this.#keys = keys;
    this.#operations = operations;
  }

  async policy(caller: Pick<Caller, 'orgId'>): Promise<PrivacyPolicy> {
    return (await this.#store.policy(caller.orgId)) ?? DEFAULT_POLICY;
  }

  async setPolicy(caller: Caller, policy: PrivacyPolicy): Promise<PrivacyPolicy> {
    const { approvals, deadlineDays } = policy;
    await this.#store.setPolicy(caller.orgId, policy, `${caller.actor.kind}:${caller.actor.id}`, actOf(caller, 'privacy-policy.change', { kind: 'privacy-policy', id: caller.orgId }, { approvals, deadlineDays }));
    return policy;
  }

  /** Writes the ledger's row, then starts the run; what dies in between is taken up by {@link resume}. */
  async request(caller: Caller, { identities, verification }: { identities: Identities; verification: string }): Promise<ErasureRecord> {
    const id = v7();
    const { deadlineDays } = await this.policy(caller);
    const sealed = this.#keys.seal(caller.orgId, PURPOSE, JSON.stringify({ identities, maskKey: randomBytes(32).toString('base64') }), id);
    const record = await this.#store.insert(
      caller.orgId,
      { id, subjects: subjectHashes(this.#keys, caller.orgId, identities), verification, requestedBy: `${caller.actor.kind}:${caller.actor.id}`, dueAt: new Date(Date.now() + deadlineDays * DAY_MS) },
      sealed,
      actOf(caller, 'erasure.request', { kind: 'erasure', id }, { kinds: Object.keys(identities).length }),
    );
    await this.#start(caller.orgId, id);
    return record;
  }

  /** Latest first. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<ErasureRecord[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<{ erasure: ErasureRecord; tables: ErasedTable[] }> {
    const erasure = await this.#find(caller, id);
    return { erasure, tables: await this.#store.tables(caller.orgId, id) };
  }

  /** Has an erasure try again at once; starts its run where none is. @throws {HalError} NotFound; Conflict once it has ended. */
  async resume(caller: Caller, id: string): Promise<ErasureRecord> {
    const erasure = await this.#find(caller, id);
    if (erasure.finishedAt !== null) throw new HalError('Conflict', `the erasure is ${erasure.state}`);
    await this.#store.record(actOf(caller, 'erasure.resume', { kind: 'erasure', id }));
    const started = await this.#start(caller.orgId, id);
    if (!started.created) await this.#operations.signal(systemCaller(caller.orgId, 'privacy'), started.runId, ERASURE_RECHECK_SIGNAL, {});
    return erasure;
  }

  /** @throws {HalError} NotFound before there is one. */
  async receipt(caller: Caller, id: string): Promise<string> {
    const { receipt } = await this.#find(caller, id);
    if (receipt === null) throw new HalError('NotFound', 'there is no receipt: the erasure is not complete, or the audit log does not vouch for it yet');
    return receipt;
  }

  /**
   * Starts erasures again whose run is gone: never started, because the process died that wrote them down, or ended without having come to the
   * end. The run's id stays what it is.
   * @param after where to go on; what the call before answered before.
   * @returns how many were started, and where to go on; undefined at the end.
   */
  async reviveAcrossOrganisations(after: Date): Promise<{ revived: number; next: Date | undefined }> {
    const unended = await this.#store.unendedAcrossOrganisations(REVIVE_PAGE, after);
    let revived = 0;
    for (const { orgId, id } of unended) if (!(await this.#runs(orgId, id)) && (await this.#start(orgId, id)).created) revived += 1;
    return { revived, next: unended.length < REVIVE_PAGE ? undefined : unended.at(-1)?.requestedAt };
  }

  async #runs(orgId: string, id: string): Promise<boolean> {
    try {
      return (await this.#operations.describe(systemCaller(orgId, 'privacy'), erasureRunId(id))).status === 'running';
    } catch (error) {
      if (error instanceof HalError && error.type === 'NotFound') return false;
      throw error;
    }
  }

  async #find(caller: Caller, id: string): Promise<ErasureRecord> {
    const erasure = await this.#store.find(caller.orgId, id);
    if (erasure === undefined) throw new HalError('NotFound', 'no such erasure');
    return erasure;
  }

  async #start(orgId: string, id: string) {
    return this.#operations.start(systemCaller(orgId, 'privacy'), { operation: contract.name, input: { erasureId: id }, origin: 'automation', uuid: id, again: true });
  }
}

/** The run of an erasure. */
export function erasureRunId(erasureId: string): string {
  return formatRunId({ operation: contract.name, uuid: erasureId });
}
