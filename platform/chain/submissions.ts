import { setTimeout as delay } from 'node:timers/promises';
import { ChainTransactionStore, type TransactionRecord } from '../../database/chain-transactions.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Caller } from '../identity/caller.ts';
import { Chains } from './chains.ts';
import type { KeyPlaces } from './signer-key.ts';

/** How often a transaction that is waited for is looked at, ms. */
const LOOK_MS = 100;

/** A transaction that must be on the chain once, whatever it takes. */
export interface Wanted {
  /** Id of the signer. */
  readonly signer: string;
  /** Names it among those of the signer. */
  readonly reference: string;
  /** Left out: deploys a contract. */
  readonly to?: string;
  readonly data: string;
  readonly gasLimit?: number;
  /** May leave together with others for the same contract. */
  readonly batch?: boolean;
}

/** Transactions that steps of runs rest on. */
export class Submissions {
  readonly #store: ChainTransactionStore;
  readonly #chains: Chains;
  readonly #caller: Caller;

  constructor({ database, places, caller }: { readonly database: Database; readonly places: KeyPlaces; readonly caller: Caller }) {
    this.#store = new ChainTransactionStore(database);
    this.#chains = new Chains({ database, places });
    this.#caller = caller;
  }

  /**
   * The transaction that is under way or succeeded under the reference; submits it where there is none, and again where the last one failed or was reverted. Whoever calls this
   * has seen on the chain that its effect is still missing.
   */
  async ensure({ signer, reference, to, data, gasLimit, batch = false }: Wanted): Promise<TransactionRecord> {
    const last = await this.#store.latest(this.#caller.orgId, signer, reference);
    if (last !== undefined && !cameToNothing(last)) return last;
    const draft = { signer, value: '0', data, batch, reference: last === undefined ? reference : following(reference, last.reference), ...(to === undefined ? {} : { to }), ...(gasLimit === undefined ? {} : { gasLimit }) };
    const { transaction } = await this.#chains.submit(this.#caller, draft);
    return transaction;
  }

  /** Undefined when none was submitted. */
  async latest(signer: string, reference: string): Promise<TransactionRecord | undefined> {
    return this.#store.latest(this.#caller.orgId, signer, reference);
  }

  /** Waits until each is mined, confirmed or over; at most so long. @returns them as they are then. */
  async settled(transactions: readonly TransactionRecord[], wanted: 'mined' | 'confirmed', untilMs: number, signal: AbortSignal): Promise<TransactionRecord[]> {
    let now = [...transactions];
    while (now.some((transaction) => !isSettled(transaction, wanted)) && Date.now() < untilMs) {
      await delay(LOOK_MS, undefined, { signal });
      now = await Promise.all(now.map(async (transaction) => (isSettled(transaction, wanted) ? transaction : ((await this.#store.find(this.#caller.orgId, transaction.id))?.transaction ?? transaction))));
    }
    return now;
  }
}

/** Whether a transaction is over without the effect it was sent for. */
export function cameToNothing({ state, outcome }: Pick<TransactionRecord, 'state' | 'outcome'>): boolean {
  return state === 'failed' || state === 'cancelled' || ((state === 'mined' || state === 'confirmed') && outcome !== 'succeeded');
}

/** Why a transaction came to nothing. */
export function failureOf({ state, failure, failureDetail, hash }: TransactionRecord): HalError {
  if (state === 'failed' && failure === 'InsufficientFunds') return new HalError('InsufficientFunds', failureDetail ?? 'the signer cannot pay');
  if (state === 'failed' && failure === 'NoContract') return new HalError('NoContract', failureDetail ?? 'there is no contract');
  if (state === 'failed') return new HalError('TransactionReverts', failureDetail ?? 'the contract would revert it');
  return new HalError('TransactionReverts', state === 'cancelled' ? 'somebody cancelled the transaction' : `the contract reverted ${hash ?? 'it'}`);
}

function isSettled(transaction: TransactionRecord, wanted: 'mined' | 'confirmed'): boolean {
  return cameToNothing(transaction) || transaction.state === 'confirmed' || (wanted === 'mined' && transaction.state === 'mined');
}

function following(reference: string, last: string | null): string {
  const count = last === null || last === reference ? 1 : Number(last.slice(reference.length + 2));
  return `${reference} #${String(count + 1)}`;
}
