import { v7 } from 'uuid';
import { z } from 'zod';
import type { Database, Tx } from '../../database/database.ts';
import { ErasureStore } from '../../database/erasures.ts';
import { insertChange, PrivacyChangeStore, type PrivacyChangeDraft, type PrivacyChangeRecord } from '../../database/privacy-changes.ts';
import type { Act } from '../../database/audit-acts.ts';
import { HalError } from '../../schemas/errors.ts';
import { PRIVACY_CHANGE_RECHECK_SIGNAL } from '../../schemas/names/messages.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import contract from '../../schemas/operations/privacy-change.ts';
import { subjectChange, topicsOf, type ChangedTableView, type SubjectChange } from '../../schemas/privacy/change.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { OperationsPort, RunsPort } from '../operations/contract.ts';
import { DEFAULT_POLICY } from './erasures.ts';
import { subjectHashes, type Identities } from './identities.ts';

const DAY_MS = 86_400_000;
const PURPOSE = 'privacy-changes';
/** Changes looked at together. */
const REVIVE_PAGE = 50;

const sealedChange = z.object({ identities: z.record(z.string(), z.array(z.string())), change: subjectChange });

export interface ChangeRequest {
  readonly identities: Identities;
  readonly verification: string;
  readonly change: SubjectChange;
}

/** Opens who a change is about, and what becomes of their data. @throws {HalError} Conflict once it has ended. */
export function openChange(keys: KeyRing, orgId: string, { id, sealed }: Pick<PrivacyChangeRecord, 'id' | 'sealed'>): { identities: Identities; change: SubjectChange } {
  if (sealed === null) throw new HalError('Conflict', 'the change has ended, and nobody knows any more who it was about');
  return sealedChange.parse(JSON.parse(keys.open(orgId, PURPOSE, sealed, id).toString('utf8')));
}

type ChangeRuns = Pick<OperationsPort, 'start' | 'signal'> & Pick<RunsPort, 'describe'>;

/** Changes of people's data in all systems: asked for, told of, taken up again. */
export class PrivacyChanges {
  readonly #store: PrivacyChangeStore;
  readonly #policies: ErasureStore;
  readonly #keys: KeyRing;
  readonly #operations: ChangeRuns;

  constructor({ database, keys, operations }: { readonly database: Database; readonly keys: KeyRing; readonly operations: ChangeRuns }) {
    this.#store = new PrivacyChangeStore(database);
    this.#policies = new ErasureStore(database);
    this.#keys = keys;
    this.#operations = operations;
  }

  /** Writes the ledger's row, then starts the run; what dies in between is taken up by {@link reviveAcrossOrganisations}. */
  async request(caller: Caller, request: ChangeRequest): Promise<PrivacyChangeRecord> {
    const { draft, act } = await this.#draft(caller, request);
    const record = await this.#store.insert(caller.orgId, draft, act);
    await this.#start(caller.orgId, draft.id);
    return record;
  }

  /**
   * A change that is the consequence of something else.
   * @returns what writes the ledger's row in the transaction of its cause, and what starts the run afterwards.
   */
  async prepare(caller: Caller, request: ChangeRequest): Promise<{ readonly id: string; readonly insert: (tx: Tx) => Promise<void>; readonly start: () => Promise<void> }> {
    const { draft, act } = await this.#draft(caller, request);
    return {
      id: draft.id,
      insert: async (tx) => void (await insertChange(tx, caller.orgId, draft, act)),
      start: async () => void (await this.#start(caller.orgId, draft.id)),
    };
  }

  /** Latest first. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<PrivacyChangeRecord[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<{ change: PrivacyChangeRecord; tables: ChangedTableView[] }> {
    const change = await this.#find(caller, id);
    return { change, tables: await this.#store.tables(caller.orgId, id) };
  }

  /** Has it try again at once; starts its run where none is. @throws {HalError} NotFound; Conflict once it has ended. */
  async resume(caller: Caller, id: string): Promise<PrivacyChangeRecord> {
    const change = await this.#find(caller, id);
    if (change.finishedAt !== null) throw new HalError('Conflict', `the change is ${change.state}`);
    await this.#store.record(actOf(caller, 'privacy-change.resume', { kind: 'privacy-change', id }));
    const started = await this.#start(caller.orgId, id);
    if (!started.created) await this.#operations.signal(systemCaller(caller.orgId, 'privacy'), started.runId, PRIVACY_CHANGE_RECHECK_SIGNAL, {});
    return change;
  }

  /**
   * Starts changes again whose run is gone.
   * @param after where to go on; what the call before answered before.
   * @returns how many were started, and where to go on; undefined at the end.
   */
  async reviveAcrossOrganisations(after: Date): Promise<{ revived: number; next: Date | undefined }> {
    const unended = await this.#store.unendedAcrossOrganisations(REVIVE_PAGE, after);
    let revived = 0;
    for (const { orgId, id } of unended) if (!(await this.#runs(orgId, id)) && (await this.#start(orgId, id)).created) revived += 1;
    return { revived, next: unended.length < REVIVE_PAGE ? undefined : unended.at(-1)?.requestedAt };
  }

  async #draft(caller: Caller, { identities, verification, change }: ChangeRequest): Promise<{ draft: PrivacyChangeDraft; act: Act }> {
    const id = v7();
    const { deadlineDays } = (await this.#policies.policy(caller.orgId)) ?? DEFAULT_POLICY;
    const wanted = change.kind === 'rectification' ? 'corrected' : change.state;
    return {
      draft: {
        id,
        kind: change.kind,
        subjects: subjectHashes(this.#keys, caller.orgId, identities),
        topics: topicsOf(change),
        wanted,
        verification,
        requestedBy: `${caller.actor.kind}:${caller.actor.id}`,
        dueAt: new Date(Date.now() + deadlineDays * DAY_MS),
        sealed: this.#keys.seal(caller.orgId, PURPOSE, JSON.stringify({ identities, change }), id),
      },
      act: actOf(caller, 'privacy-change.request', { kind: 'privacy-change', id }, { kind: change.kind, topics: topicsOf(change), wanted }),
    };
  }

  async #runs(orgId: string, id: string): Promise<boolean> {
    try {
      return (await this.#operations.describe(systemCaller(orgId, 'privacy'), privacyChangeRunId(id))).status === 'running';
    } catch (error) {
      if (error instanceof HalError && error.type === 'NotFound') return false;
      throw error;
    }
  }

  async #find(caller: Caller, id: string): Promise<PrivacyChangeRecord> {
    const change = await this.#store.find(caller.orgId, id);
    if (change === undefined) throw new HalError('NotFound', 'no such change');
    return change;
  }

  async #start(orgId: string, id: string) {
    return this.#operations.start(systemCaller(orgId, 'privacy'), { operation: contract.name, input: { changeId: id }, origin: 'automation', uuid: id, again: true });
  }
}

/** The run of a change. */
export function privacyChangeRunId(changeId: string): string {
  return formatRunId({ operation: contract.name, uuid: changeId });
}
