import { AsyncLocalStorage } from 'node:async_hooks';
import type { Generated } from 'kysely';
import { v7 } from 'uuid';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

/** Facts of an act that are worth keeping and are neither personal nor secret. */
export type ActDetails = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** Something somebody did or tried: who, what, to what, with which result. */
export interface Act {
  readonly orgId: string;
  /** `<resource>.<verb in the infinitive>`, e.g. `api-key.revoke`. */
  readonly action: string;
  readonly result: 'succeeded' | 'refused' | 'failed';
  readonly actor: { readonly kind: string; readonly id: string };
  /** The user who acts as the actor, if any. */
  readonly impersonatorId?: string | undefined;
  readonly resource: { readonly kind: string; readonly id: string };
  readonly requestId: string;
  /** 0 (nothing unusual) to 100. */
  readonly risk: number;
  readonly details: ActDetails;
  /** Personal data, kept apart so that it can be erased while the log stays provable. */
  readonly personal: { readonly address?: string; readonly userAgent?: string; readonly userName?: string };
}

export interface AuditActTables {
  audit_acts: {
    org_id: string;
    id: string;
    at: Timestamp;
    action: string;
    result: Act['result'];
    actor_kind: string;
    actor_id: string;
    impersonator_id: string | null;
    resource_kind: string;
    resource_id: string;
    request_id: string;
    risk: number;
    details: Generated<unknown>;
    personal: Generated<unknown>;
  };
}

/**
 * Writes an act into the transaction of its cause: both are there or neither is. Every store method that changes something
 * people would ask about takes the act and calls this. The sequencer numbers it within a second.
 */
export async function recordAct(tx: Tx, act: Act): Promise<void> {
  await recordActs(tx, [act]);
}

/** Writes several acts of one cause, in one statement. */
export async function recordActs(tx: Tx, acts: readonly Act[]): Promise<void> {
  if (acts.length === 0) return;
  await tx
    .insertInto('audit_acts')
    .values(
      acts.map((act) => ({
        org_id: act.orgId,
        id: v7(),
        action: act.action,
        result: act.result,
        actor_kind: act.actor.kind,
        actor_id: act.actor.id,
        impersonator_id: act.impersonatorId ?? null,
        resource_kind: act.resource.kind,
        resource_id: act.resource.id,
        request_id: act.requestId,
        risk: act.risk,
        details: JSON.stringify(act.details),
        personal: JSON.stringify(storablePersonal(act.personal)),
      })),
    )
    .execute();
  const watched = watch.getStore();
  if (watched !== undefined) watched.written = true;
}

/** Acts that have no other cause in the database: requests that were refused, data that was read or exported, calls to Temporal. */
export class AuditActStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async record(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }
}

const watch = new AsyncLocalStorage<{ written: boolean }>();

/** Runs `work` and tells whether it, or what it called, wrote an act. */
export async function watchActs<T>(work: () => Promise<T>): Promise<{ result: T; written: boolean }> {
  const watched = { written: false };
  const result = await watch.run(watched, work);
  return { result, written: watched.written };
}

/**
 * Says why a request wrote no act, so that none is missed.
 * @param _reason `nothing-changed`: it repeats one that did, or found everything as it was to be. `written-with-its-cause`: its cause commits later or
 *   in another process, and the act with it.
 */
export function noActHere(_reason: 'nothing-changed' | 'written-with-its-cause'): void {
  const watched = watch.getStore();
  if (watched !== undefined) watched.written = true;
}

/** Longest personal value kept, UTF-16 code units: a client may send what it likes. */
const MOST_PERSONAL = 1000;

/** What people send may hold what PostgreSQL's JSON cannot. */
export function storablePersonal(personal: Act['personal']): Record<string, string> {
  return Object.fromEntries(Object.entries(personal).map(([field, value]: [string, string]) => [field, value.slice(0, MOST_PERSONAL).replaceAll('\0', '\uFFFD').toWellFormed()]));
}
