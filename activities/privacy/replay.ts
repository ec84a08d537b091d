import { randomBytes } from 'node:crypto';
import { ErasureReplayStore, type CompletedErasure } from '../../database/erasure-replays.ts';
import { LegalHoldStore } from '../../database/legal-holds.ts';
import type { Database } from '../../database/database.ts';
import { actOf } from '../../platform/audit/act.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { DataSource, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { HalError } from '../../schemas/errors.ts';

/** Times a person is erased and looked for again. */
const ROUNDS = 5;

export interface ReplayParts {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly subjectKeys: Pick<SubjectKeys, 'destroy' | 'idsOf'>;
  /** Erasures that were complete and that the ledger of `database` may not know. Default none. */
  readonly alsoErased?: readonly CompletedErasure[];
  /** Everything that may hold data of an organisation's people. */
  readonly sourcesOf: (orgId: string) => Promise<readonly DataSource[]>;
  readonly signal: AbortSignal;
  /** Told what is going on, without personal data. */
  readonly progress: (message: string) => void;
}

export interface ReplayOutcome {
  /** Complete ones in the ledger. */
  readonly erasures: number;
  /** Keys of people that a backup had brought back. */
  readonly keysDestroyed: number;
  /** Erasures whose person was back. */
  readonly back: number;
  /** Records masked or deleted again. */
  readonly rows: number;
  /** What stands in the way; empty: nobody of the ledger was found when looking again. */
  readonly reasons: readonly string[];
}

/**
 * Applies the ledger of one organisation again, after a backup of a source or of HAL9 was restored: keys first, then the people whom the sources know again. Nobody knows who
 * they were, so every identity of the sources is hashed and compared with the ledger. May be cut off and begun again.
 */
export async function replayErasures(parts: ReplayParts, orgId: string): Promise<ReplayOutcome> {
  const { database, keys, subjectKeys, progress } = parts;
  const store = new ErasureReplayStore(database);
  const ledger = withoutRepeats([...(await store.complete(orgId)), ...(parts.alsoErased ?? [])]);
  const keysDestroyed = await subjectKeys.destroy(orgId, ledger.flatMap(({ subjects }) => subjects));
  if (ledger.length === 0) return { erasures: 0, keysDestroyed, back: 0, rows: 0, reasons: [] };
  progress(`${ledger.length} erasures in the ledger; ${keysDestroyed} keys destroyed again`);
  const sources = await parts.sourcesOf(orgId);
  const reasons: string[] = [];
  const bySubject = new Map<string, CompletedErasure>();
  for (const erasure of ledger) for (const subject of erasure.subjects) bySubject.set(subject.toString('hex'), erasure);
  const erasureOf = (kind: string, value: string): CompletedErasure | undefined => {
    const [hash] = subjectHashes(keys, orgId, { [kind]: [value] });
    return hash === undefined ? undefined : bySubject.get(hash.toString('hex'));
  };
  const known = await peopleIn(sources, parts.signal, erasureOf, reasons);
  const holds = await new LegalHoldStore(database).allInForce(orgId);
  let rows = 0;
  for (const [erasure, identities] of known) {
    const held = holds.find(({ table, subjects }) => table === null && subjects?.some((hash) => erasure.subjects.some((own) => own.equals(hash))) === true);
    if (held !== undefined) {
      reasons.push(`erasure ${erasure.erasureId}: a legal hold protects the person by now (${held.id})`);
      continue;
    }
    const inquiry: SubjectInquiry = { orgId, requestId: erasure.erasureId, identities, subjects: erasure.subjects, maskKey: randomBytes(32), holds: holds.filter(({ table }) => table !== null), signal: parts.signal };
    const again = await eraseAgain(sources, inquiry, reasons);
    rows += again;
    await store.record(actOf(systemCaller(orgId, 'privacy'), 'erasure.replay', { kind: 'erasure', id: erasure.erasureId }, { rows: again }));
    progress(`erasure ${erasure.erasureId}: ${again} records erased again`);
  }
  for (const [erasure] of await peopleIn(sources, parts.signal, erasureOf, reasons)) if (!reasons.some((reason) => reason.includes(erasure.erasureId))) reasons.push(`erasure ${erasure.erasureId}: people are looked up by their identity still, where what people say keeps it`);
  for (const erasure of ledger) if ((await subjectKeys.idsOf(orgId, erasure.subjects)).some(({ living }) => living)) reasons.push(`erasure ${erasure.erasureId}: a key of the person is there again`);
  return { erasures: ledger.length, keysDestroyed, back: known.size, rows, reasons: [...new Set(reasons)] };
}

function withoutRepeats(ledger: readonly CompletedErasure[]): CompletedErasure[] {
  return [...new Map(ledger.map((erasure) => [erasure.erasureId, erasure])).values()];
}

/** People of the ledger whom sources know. */
async function peopleIn(sources: readonly DataSource[], signal: AbortSignal, erasureOf: (kind: string, value: string) => CompletedErasure | undefined, reasons: string[]): Promise<Map<CompletedErasure, Record<string, string[]>>> {
  const people = new Map<CompletedErasure, Record<string, string[]>>();
  for (const source of sources) {
    if (source.recognise === undefined) continue;
    await told(source, reasons, async () => {
      for (const { kind, value } of (await source.recognise?.({ signal }, (one, text) => erasureOf(one, text) !== undefined)) ?? []) {
        const erasure = erasureOf(kind, value);
        if (erasure === undefined) continue;
        const identities = people.get(erasure) ?? {};
        identities[kind] = [...new Set([...(identities[kind] ?? []), value])];
        people.set(erasure, identities);
      }
    });
  }
  return people;
}

async function eraseAgain(sources: readonly DataSource[], inquiry: SubjectInquiry, reasons: string[]): Promise<number> {
  let rows = 0;
  // Those that may forget how to find the person come last.
  for (const source of sources.toSorted((a, b) => Number(a.turn === 'last') - Number(b.turn === 'last'))) {
    await told(source, reasons, async () => {
      const { refusals } = await source.plan(inquiry);
      if (refusals.length > 0) throw new HalError('Conflict', refusals.join('; '));
      for (let round = 1; round <= ROUNDS; round += 1) {
        await source.erase(inquiry, (changed) => {
          rows += changed.reduce((sum, table) => sum + table.changed, 0);
          return Promise.resolve();
        });
        const left = (await source.rescan(inquiry)).filter(({ kept }) => kept === null);
        if (left.length === 0) return;
        if (round === ROUNDS) throw new HalError('Conflict', left.map(({ table, column, rows: some }) => `${some} rows of ${table} still name the person of erasure ${inquiry.requestId} in ${column}`).join('; '));
      }
    });
  }
  return rows;
}

/** What fails in one source is a reason; others are still worth it. */
async function told(source: DataSource, reasons: string[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof HalError)) throw error;
    reasons.push(`${source.name}: ${error.message}`);
  }
}
