import { randomUUID } from 'node:crypto';
import { setImmediate as othersFirst } from 'node:timers/promises';
import { Transaction } from 'ethers';
import { z } from 'zod';
import { ChainStore } from '../../database/chains.ts';
import { ChainTransactionStore, type AttemptKind, type Carrier, type Mined, type NewAttempt, type OpenTransaction } from '../../database/chain-transactions.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Egress } from '../connections/egress.ts';
import { callsOf, groupsOf, NO_CALLS, NO_RESULTS, sharedTargets, type Group } from './batching.ts';
import { rpcUrlsOf } from './chains.ts';
import { effectivePolicy, firstFees, higherFees, type EffectivePolicy, type Fees } from './policy.ts';
import { explainRevert } from './revert-reason.ts';
import { ChainRpc, hex, quantity, resultOf, type RpcAnswer, type RpcCall } from './rpc.ts';
import { openSignerKey, type KeyPlaces } from './signer-key.ts';
import type { SignerKey } from './signing-key.ts';

/** Queued transactions that are looked at in one step. */
const QUEUED_A_STEP = 500;
/** Of them, those whose gas is estimated: nodes run each. */
const ESTIMATED_A_STEP = 100;
/** Of the gas of a block, the part that one transaction of many calls takes at most: a larger one waits long for its place. */
const BATCH_BLOCK_SHARE = 4n;
/** What a transaction may use at all (EIP-7825). */
const MOST_GAS = 16_777_216n;
/** Versions that are written and sent together. */
const SENT_TOGETHER = 100;
/** Versions that are signed together. Keys at hand sign on the process's only thread, about a millisecond each. */
const SIGNED_TOGETHER = 16;
/** Receipts beyond which those of whole blocks are asked for. */
const FEW_RECEIPTS = 20;
/** Final transactions that are taken up again in one step. */
const TAKEN_UP_A_STEP = 100;
/** Versions that are sent again in one step. */
const RESENT_A_STEP = 100;
/** Estimated gas, and a fifth more: state may differ when it is mined. */
const GAS_MARGIN_PERCENT = 120n;
/** Looks at the chain after which a version is sent again: about one block. Nodes forget what they cannot mine at once. */
const LOOKS_A_RESEND = 3;
/** The same for one that its node says it has: nodes count wrongly at times. */
const LOOKS_A_DOUBT = 60;
/** Longest wait while nothing can be done, ms. */
const TROUBLE_MS = 5_000;
/** No chain asks for so many wei: the cap of what must get through. */
const UNCAPPED = 10n ** 18n;

const blockSchema = z.object({ number: quantity, hash: z.string(), gasLimit: quantity, baseFeePerGas: quantity.default(0n) });
const receiptSchema = z.object({
  transactionHash: z.string(),
  blockNumber: quantity,
  blockHash: z.string(),
  status: quantity,
  gasUsed: quantity,
  effectiveGasPrice: quantity.default(0n),
  contractAddress: z.string().nullish(),
});
type Receipt = z.output<typeof receiptSchema>;
const hashOf = (block: unknown): string | undefined => z.object({ hash: z.string() }).nullable().parse(block)?.hash;

export interface SenderStep {
  /** Transactions that got deep enough in this step. */
  readonly confirmed: number;
  /** Milliseconds until it should look again; null: everything is final. */
  readonly nextInMs: number | null;
}

export interface SenderDependencies {
  readonly database: Database;
  readonly egress: Pick<Egress, 'request'>;
  readonly places: KeyPlaces;
}

/** The chain as one node sees it. */
interface View {
  readonly head: z.output<typeof blockSchema>;
  /** Nonce of the signer's next transaction to be mined. */
  readonly nonce: number;
  /** The same after those that the node has and has not mined. */
  readonly pooled: number;
  readonly balance: bigint;
}

interface Trouble {
  readonly type: 'ChainUnreachable' | 'ChainMismatch' | 'ChainRefused' | 'SignerUnavailable' | 'FeeAboveCap';
  readonly detail: string;
}

/** A transaction that may be sent now. */
interface Ready {
  readonly row: Pick<OpenTransaction, 'id' | 'nonce' | 'to' | 'value' | 'data' | 'attempts'>;
  readonly gas: bigint;
  readonly fees: Fees;
  /** What leaves in it; left out: itself alone. */
  readonly carrier?: Carrier;
}

/** Gas of a transaction, or why it would fail. */
type Estimate = bigint | { readonly type: string; readonly detail: string };

/**
 * Sends what one signer has to send. Everything it must remember is in rows: it can be ended at any moment, and two at once do no harm.
 * A step looks at the chain once, notes what became of earlier transactions, and sends what may be sent.
 */
export class ChainSender {
  readonly #dependencies: SenderDependencies;
  readonly #orgId: string;
  readonly #signerId: string;
  readonly #chains: ChainStore;
  readonly #store: ChainTransactionStore;
  /** Addresses that have code. */
  readonly #contracts = new Set<string>();
  /** Of them, those that take several calls at once. */
  readonly #multicalls = new Set<string>();
  /** Number of the block that was the head when a version was first seen. */
  readonly #seenAt = new Map<string, bigint>();
  #rpc: { readonly nodes: string; readonly rpc: ChainRpc } | undefined;

  constructor(dependencies: SenderDependencies, orgId: string, signerId: string) {
    this.#dependencies = dependencies;
    this.#orgId = orgId;
    this.#signerId = signerId;
    this.#chains = new ChainStore(dependencies.database);
    this.#store = new ChainTransactionStore(dependencies.database);
  }

  /** What holds the signer up is noted on it, and passes by itself. @throws what the database throws. */
  async step(signal?: AbortSignal): Promise<SenderStep> {
    const rows = await this.#store.open(this.#orgId, this.#signerId, QUEUED_A_STEP);
    if (rows.length === 0) return { confirmed: 0, nextInMs: null };
    try {
      const work = await this.#prepare(signal);
      const { confirmed, trouble, more } = await work.run(rows);
      await this.#chains.noteTrouble(this.#orgId, this.#signerId, trouble);
      if (more) return { confirmed, nextInMs: 0 };
      const busy = rows.some(({ state }) => state !== 'confirmed');
      return { confirmed, nextInMs: busy ? work.policy.pollMs : Math.min(TROUBLE_MS, 4 * work.policy.pollMs) };
    } catch (error) {
      signal?.throwIfAborted();
      const trouble = troubleOf(error);
      if (trouble === undefined) throw error;
      await this.#chains.noteTrouble(this.#orgId, this.#signerId, trouble);
      return { confirmed: 0, nextInMs: trouble.type === 'ChainUnreachable' ? 1_000 : TROUBLE_MS };
    }
  }

  /** Read anew for each step, so that a changed policy or address counts at once. */
  async #prepare(signal: AbortSignal | undefined): Promise<Step> {
    const { egress, places } = this.#dependencies;
    const signer = await this.#chains.signer(this.#orgId, this.#signerId);
    const chain = signer === undefined ? undefined : await this.#chains.chain(this.#orgId, signer.chain);
    if (signer === undefined || chain === undefined) throw new HalError('NotFound', 'there is no such signer');
    const policy = effectivePolicy(chain.chainId, chain.policy);
    const key = await openSignerKey(places, this.#orgId, this.#signerId, { kind: signer.keyKind, name: signer.keyName, sealed: signer.sealedKey });
    if (key.address !== signer.address) throw new HalError('SignerUnavailable', `the key belongs to ${key.address} by now`);
    const urls = rpcUrlsOf(places, this.#orgId, chain);
    const nodes = JSON.stringify([urls, policy.quorum]);
    // What it learnt about the nodes stays as long as they do.
    if (this.#rpc?.nodes !== nodes) this.#rpc = { nodes, rpc: new ChainRpc({ egress, urls, chainId: chain.chainId, quorum: policy.quorum, signal }) };
    const { rpc } = this.#rpc;
    return new Step({ orgId: this.#orgId, signerId: this.#signerId, chainId: chain.chainId, policy, key, rpc, store: this.#store, contracts: this.#contracts, multicalls: this.#multicalls, seenAt: this.#seenAt });
  }
}

interface StepParts {
  readonly orgId: string;
  readonly signerId: string;
  readonly chainId: number;
  readonly policy: EffectivePolicy;
  readonly key: SignerKey;
  readonly rpc: ChainRpc;
  readonly store: ChainTransactionStore;
  readonly contracts: Set<string>;
  readonly multicalls: Set<string>;
  readonly seenAt: Map<string, bigint>;
}

/** One look at the chain, and what follows from it. */
class Step {
  readonly policy: EffectivePolicy;
  readonly #parts: StepParts;
  #head = 0n;

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.policy = parts.policy;
  }

  /** @returns `more`: others wait, and may be sent at once. */
  async run(rows: readonly OpenTransaction[]): Promise<{ readonly confirmed: number; readonly trouble: Trouble | null; readonly more: boolean }> {
    const view = await this.#look();
    this.#head = view.head.number;
    const confirmed = await this.#followBlocks(rows, view);
    await this.#takeUpFinal(view);
    const lost = await this.#followPending(rows, view);
    const pending = rows.filter(({ id, state, nonce }) => state === 'pending' && nonce !== null && nonce >= view.nonce && !lost.has(id));
    const stuck = await this.#pushOn(pending, view);
    const { trouble: held, more } = await this.#sendQueued(rows.filter(({ state }) => state === 'queued'), pending, view);
    await this.#fillGaps(rows, view);
    return { confirmed, trouble: stuck ?? held, more };
  }

  async #look(): Promise<View> {
    const { rpc, key } = this.#parts;
    const [head, nonce, pooled, balance] = await rpc.batch([
      { method: 'eth_getBlockByNumber', params: ['latest', false] },
      { method: 'eth_getTransactionCount', params: [key.address, 'latest'] },
      { method: 'eth_getTransactionCount', params: [key.address, 'pending'] },
      { method: 'eth_getBalance', params: [key.address, 'latest'] },
    ]);
    return { head: blockSchema.parse(resultOf(head)), nonce: Number(quantity.parse(resultOf(nonce))), pooled: Number(quantity.parse(resultOf(pooled))), balance: quantity.parse(resultOf(balance)) };
  }

  /** Mined transactions get deeper, or their blocks are gone. @returns how many submissions were confirmed. */
  async #followBlocks(rows: readonly OpenTransaction[], { head }: View): Promise<number> {
    const { rpc, store, orgId, policy } = this.#parts;
    const inBlocks = rows.flatMap(({ id, state, blockNumber, blockHash }) => (blockNumber === null || blockHash === null ? [] : [{ id, state, blockNumber, blockHash }]));
    // A node that is behind says nothing about blocks it has not seen.
    const seen = [...new Set(inBlocks.map(({ blockNumber }) => blockNumber))].filter((number) => BigInt(number) <= head.number);
    if (seen.length === 0) return 0;
    const answers = await rpc.batch(seen.map((number) => ({ method: 'eth_getBlockByNumber', params: [hex(number), false] })));
    const canonical = new Map(seen.map((number, place) => [number, hashOf(resultOf(answers[place]))]));
    const gone = inBlocks.filter(({ blockNumber, blockHash }) => canonical.has(blockNumber) && canonical.get(blockNumber) !== blockHash);
    await store.rollBack(orgId, gone);
    const standing = inBlocks.filter(({ blockNumber, blockHash }) => canonical.get(blockNumber) === blockHash);
    const depth = (blockNumber: number): number => Number(head.number) - blockNumber + 1;
    const deep = standing.filter(({ state, blockNumber }) => state === 'mined' && depth(blockNumber) >= policy.confirmations);
    const vouched = await this.#vouchedFor(deep);
    const final = standing.filter(({ state, blockNumber }) => state === 'confirmed' && depth(blockNumber) >= policy.confirmations + policy.watchBlocks);
    return store.settle(orgId, vouched.map(({ id }) => id), final.map(({ id }) => id));
  }

  /**
   * Transactions that were final, and that a reorganisation deeper than the chain's policy follows took away: the chain gives out their nonces again, and would take
   * nothing later before them. Nodes that are only behind do not have their blocks yet.
   */
  async #takeUpFinal({ head, nonce }: View): Promise<void> {
    const { rpc, store, orgId, signerId } = this.#parts;
    const suspects = await store.finalFrom(orgId, signerId, nonce, Number(head.number), TAKEN_UP_A_STEP);
    const agreed = new Map<number, string | undefined>();
    for (const number of new Set(suspects.map(({ blockNumber }) => blockNumber))) agreed.set(number, await rpc.agreed('eth_getBlockByNumber', [hex(number), false], hashOf));
    await store.rollBack(orgId, suspects.filter(({ blockNumber, blockHash }) => agreed.get(blockNumber) !== undefined && agreed.get(blockNumber) !== blockHash));
  }

  /** Those in blocks that a quorum of nodes has too. */
  async #vouchedFor<Row extends { readonly blockNumber: number; readonly blockHash: string }>(rows: readonly Row[]): Promise<Row[]> {
    const { rpc, policy } = this.#parts;
    if (policy.quorum === 1) return [...rows];
    const agreed = new Map<number, string | undefined>();
    for (const number of new Set(rows.map(({ blockNumber }) => blockNumber))) agreed.set(number, await rpc.agreed('eth_getBlockByNumber', [hex(number), false], hashOf));
    return rows.filter(({ blockNumber, blockHash }) => agreed.get(blockNumber) === blockHash);
  }

  /** Pending transactions whose nonce is used: by one of their versions, or by somebody else. @returns those that were. */
  async #followPending(rows: readonly OpenTransaction[], { head, nonce: next }: View): Promise<ReadonlySet<string>> {
    const { rpc, store, orgId, key, policy } = this.#parts;
    const used = rows.filter(({ state, nonce }) => state === 'pending' && nonce !== null && nonce < next);
    if (used.length === 0) return new Set();
    const versions = used.flatMap((row) => row.attempts.filter(({ nonce }) => nonce === row.nonce).map(({ hash, kind }) => ({ id: row.id, hash, kind })));
    const byBlock = await this.#minedByBlock(versions);
    const known = new Set(byBlock.map(({ id }) => id));
    const rest = versions.filter(({ id }) => !known.has(id));
    const deepBlock = head.number > BigInt(policy.confirmations) ? head.number - BigInt(policy.confirmations) : 0n;
    // One batch, one node: a receipt that is missing there is missing in the very chain that used the nonce.
    const [deepNonce, ...receipts] = await rpc.batch([
      { method: 'eth_getTransactionCount', params: [key.address, hex(deepBlock)] },
      ...rest.map(receiptCall),
    ]);
    const mined = [...byBlock, ...rest.flatMap((version, place) => minedOf(version, receiptIn(receipts[place])))];
    await store.mined(orgId, mined);
    const found = new Set(mined.map(({ id }) => id));
    const deep = deepNonce === undefined || 'error' in deepNonce ? 0 : Number(quantity.parse(deepNonce.result));
    await store.loseNonce(orgId, used.filter(({ id, nonce }) => !found.has(id) && nonce !== null && nonce < deep).map(({ id }) => id));
    return new Set(used.map(({ id }) => id));
  }

  /** Where many were mined, a few of them tell their blocks, and those all of their receipts. @returns what was found so; the rest is asked for one by one. */
  async #minedByBlock(versions: readonly Version[]): Promise<Mined[]> {
    const { rpc } = this.#parts;
    const mined: Mined[] = [];
    let left = versions;
    while (left.length > FEW_RECEIPTS) {
      const samples = left.slice(0, FEW_RECEIPTS);
      const answers = await rpc.batch(samples.map(receiptCall));
      const blocks = new Set(samples.flatMap((version, place) => minedOf(version, receiptIn(answers[place])).map(({ blockNumber }) => blockNumber)));
      const receipts = (await rpc.batch([...blocks].map((number) => ({ method: 'eth_getBlockReceipts', params: [hex(number)] })))).flatMap(receiptsIn);
      const byHash = new Map(receipts.map((receipt) => [receipt.transactionHash, receipt]));
      const here = left.flatMap((version) => minedOf(version, byHash.get(version.hash)));
      // The node does not know the method, or these were replaced.
      if (here.length === 0) break;
      mined.push(...here);
      const found = new Set(here.map(({ id }) => id));
      left = left.filter(({ id }) => !found.has(id));
    }
    return mined;
  }

  /** Sends pending transactions again, with higher fees where they are next in line, or without effect where they are to be cancelled. */
  async #pushOn(pending: readonly OpenTransaction[], view: View): Promise<Trouble | null> {
    const { policy, store, orgId, seenAt } = this.#parts;
    const { head } = view;
    const unsigned = pending.filter(({ attempts }) => attempts.length === 0);
    await this.#finishSigning(unsigned, view);
    const again: { transactionId: string; hash: string; nonce: number }[] = [];
    let trouble: Trouble | null = null;
    for (const row of pending.slice(0, RESENT_A_STEP)) {
      const last = row.attempts.at(-1);
      if (last === undefined || row.nonce === null) continue;
      if (!seenAt.has(last.hash)) seenAt.set(last.hash, head.number);
      const before: Fees = { maxFee: BigInt(last.maxFee), priorityFee: BigInt(last.priorityFee) };
      const cap = row.maxFee === null ? policy.maxFee : BigInt(row.maxFee);
      const blocksPassed = head.number > (seenAt.get(last.hash) ?? head.number);
      const slow = last.ageMs > policy.bumpAfterMs && blocksPassed && (row.nonce === view.nonce || before.maxFee < head.baseFeePerGas);
      const cancelling = row.cancelRequested && last.kind !== 'cancel';
      const fees = cancelling || slow ? higherFees(before, head.baseFeePerGas, row.cancelRequested ? UNCAPPED : cap, policy.priorityFee, policy.bumpPercent) : undefined;
      if (fees !== undefined) await this.#signAndSend([{ row, gas: row.cancelRequested ? await this.#transferGas() : BigInt(row.gasLimit ?? 21_000), fees }], row.cancelRequested ? 'cancel' : 'bump');
      else if (last.quietMs === null || last.quietMs > (isPooled(row, view) ? LOOKS_A_DOUBT : LOOKS_A_RESEND) * policy.pollMs) again.push({ transactionId: row.id, hash: last.hash, nonce: row.nonce });
      if (before.maxFee < head.baseFeePerGas && fees === undefined) trouble = { type: 'FeeAboveCap', detail: `a unit of gas costs ${String(head.baseFeePerGas)} wei, at most ${String(cap)} are allowed` };
    }
    const raw = await store.raw(orgId, again.map(({ hash }) => hash), again.map(({ transactionId }) => transactionId));
    await this.#broadcast(again.flatMap((version) => (raw.has(version.hash) ? [{ ...version, raw: raw.get(version.hash) ?? Buffer.alloc(0) }] : [])));
    return trouble;
  }

  /** Transactions that have a nonce and were not signed, because a process ended in between. */
  async #finishSigning(rows: readonly OpenTransaction[], { head }: View): Promise<void> {
    const { policy } = this.#parts;
    // They hold later ones up: a cap that is too low for now must not, so they are signed at the cap and wait in the pool.
    const ready = rows.map((row) => {
      const cap = row.maxFee === null ? policy.maxFee : BigInt(row.maxFee);
      return { row, gas: BigInt(row.gasLimit ?? 21_000), fees: firstFees(head.baseFeePerGas, cap, policy.priorityFee) ?? { maxFee: cap, priorityFee: policy.priorityFee < cap ? policy.priorityFee : cap } };
    });
    await this.#signAndSend(ready, 'send');
  }

  async #sendQueued(queued: readonly OpenTransaction[], pending: readonly OpenTransaction[], view: View): Promise<{ readonly trouble: Trouble | null; readonly more: boolean }> {
    const { policy, store, orgId, signerId } = this.#parts;
    const room = policy.maxInFlight - pending.length;
    if (room <= 0 || queued.length === 0) return { trouble: null, more: false };
    const groups = groupsOf(queued, await this.#takingSeveral(policy.maxBatch > 1 ? sharedTargets(queued) : []), policy.maxBatch);
    const considered = estimable(groups).slice(0, room);
    const { ready, trouble, parted } = await this.#judge(considered, pending, view);
    if (ready.length > 0) {
      const nonces = await store.allocate(orgId, signerId, ready.map(({ row: { id }, gas, carrier }) => ({ id, gas: Number(gas), ...(carrier === undefined ? {} : { carrier }) })), view.nonce);
      await this.#signAndSend(ready.flatMap(({ row, ...rest }) => (nonces.has(row.id) ? [{ row: { ...row, nonce: nonces.get(row.id) ?? null }, ...rest }] : [])), 'send');
    }
    const waiting = queued.length === QUEUED_A_STEP || considered.length < groups.length;
    return { trouble, more: ready.length < room && (parted || (waiting && ready.length === considered.length)) };
  }

  /** Contracts that take several calls at once. One that only swallows what it does not know gives no results. */
  async #takingSeveral(addresses: readonly string[]): Promise<ReadonlySet<string>> {
    const { rpc, key, multicalls } = this.#parts;
    const unknown = addresses.filter((to) => !multicalls.has(to));
    const answers = unknown.length === 0 ? [] : await rpc.batch(unknown.map((to) => ({ method: 'eth_call', params: [{ from: key.address, to, data: NO_CALLS }, 'latest'] })));
    for (const [place, to] of unknown.entries()) {
      const answer = answers[place];
      if (answer !== undefined && !('error' in answer) && answer.result === NO_RESULTS) multicalls.add(to);
    }
    return multicalls;
  }

  /**
   * Which of the queued transactions may be sent, in their order. One that cannot succeed is given up, unless one before it may still change that.
   * @returns `parted`: not all of the last one's group fit into it.
   */
  async #judge(groups: readonly Group[], pending: readonly OpenTransaction[], { head, balance }: View): Promise<{ ready: Ready[]; trouble: Trouble | null; parted: boolean }> {
    const { policy, store, orgId } = this.#parts;
    const alone = groups.flatMap(([first, ...others]) => (others.length === 0 ? [first] : []));
    const [gas, code] = await Promise.all([this.#estimate(alone), this.#withoutCode(alone)]);
    const ready: Ready[] = [];
    let left = balance - pending.reduce((sum, { value, gasLimit, attempts }) => sum + BigInt(value) + BigInt(gasLimit ?? 0) * BigInt(attempts.at(-1)?.maxFee ?? 0), 0n);
    for (const group of groups) {
      const [row] = group;
      const cap = row.maxFee === null ? policy.maxFee : BigInt(row.maxFee);
      const fees = firstFees(head.baseFeePerGas, cap, policy.priorityFee);
      if (fees === undefined) return { ready, trouble: { type: 'FeeAboveCap', detail: `a unit of gas costs ${String(head.baseFeePerGas)} wei, at most ${String(cap)} are allowed` }, parted: false };
      const many = group.length > 1 ? await this.#pack(group, fees, [head.gasLimit / BATCH_BLOCK_SHARE, MOST_GAS, left / fees.maxFee].reduce(lower)) : undefined;
      if (many !== undefined) {
        ready.push(many);
        left -= many.gas * fees.maxFee;
        if (many.carrier.members.length < group.length) return { ready, trouble: null, parted: true };
        continue;
      }
      const estimate = gas.get(row.id) ?? (await this.#estimate([row])).get(row.id);
      const failure = row.to !== null && code.has(row.to) ? { type: 'NoContract', detail: `${row.to} has no code on chain ${String(this.#parts.chainId)}` } : typeof estimate === 'object' ? estimate : undefined;
      const units = typeof estimate === 'bigint' ? estimate : 0n;
      const cost = BigInt(row.value) + units * fees.maxFee;
      const unaffordable = failure === undefined && cost > left ? { type: 'InsufficientFunds', detail: `it may cost ${String(cost)} wei, the signer has ${String(left)}` } : undefined;
      const reason = failure ?? unaffordable;
      if (reason === undefined) {
        ready.push({ row, gas: units, fees });
        left -= cost;
        if (group.length > 1) return { ready, trouble: null, parted: true };
      } else if (pending.length + ready.length > 0) {
        // Ask again when those before it are mined.
        break;
      } else {
        await store.fail(orgId, row.id, reason);
        if (group.length > 1) return { ready, trouble: null, parted: true };
      }
    }
    return { ready, trouble: null, parted: false };
  }

  /**
   * As many of a group, from its first on, as succeed together within so much gas: the first of all that would be reverted is left for its own turn, and takes nobody down.
   * @returns undefined where not even two do.
   */
  async #pack(group: Group, fees: Fees, mostGas: bigint): Promise<(Ready & { readonly carrier: Carrier }) | undefined> {
    let found: (Ready & { readonly carrier: Carrier }) | undefined;
    let [fits, most, tried] = [1, group.length, group.length];
    while (fits < most) {
      const members = group.slice(0, tried);
      const carrier: Carrier = { to: group[0].to ?? '', data: callsOf(members), maxFee: group[0].maxFee, members: members.map(({ id }) => id) };
      const row = { id: randomUUID(), nonce: null, to: carrier.to, value: '0', data: carrier.data, gasLimit: null, attempts: [] };
      const gas = (await this.#estimate([row])).get(row.id);
      if (typeof gas === 'bigint' && gas <= mostGas) {
        found = { row, gas, fees, carrier };
        fits = tried;
      } else {
        most = tried - 1;
      }
      tried = Math.ceil((fits + most) / 2);
    }
    return found;
  }

  /** Gas for each transaction, or why it would fail. */
  async #estimate(rows: readonly Pick<OpenTransaction, 'id' | 'to' | 'value' | 'data' | 'gasLimit'>[]): Promise<ReadonlyMap<string, Estimate>> {
    const { rpc, key } = this.#parts;
    const given = rows.flatMap((row): [string, bigint][] => (row.gasLimit === null ? [] : [[row.id, BigInt(row.gasLimit)]]));
    const asked = rows.filter(({ gasLimit }) => gasLimit === null);
    if (asked.length === 0) return new Map(given);
    const answers = await rpc.batch(asked.map(({ to, value, data }) => ({ method: 'eth_estimateGas', params: [{ from: key.address, ...(to === null ? {} : { to }), value: hex(BigInt(value)), data: `0x${data.toString('hex')}` }, 'pending'] })));
    return new Map<string, Estimate>([
      ...given,
      ...asked.map(({ id }, place): [string, Estimate] => {
        const answer = answers[place];
        if (answer === undefined || !('error' in answer)) return [id, (quantity.parse(resultOf(answer)) * GAS_MARGIN_PERCENT) / 100n];
        return [id, explainRevert(answer.error)];
      }),
    ]);
  }

  /** Addresses that are called with data and have no code. */
  async #withoutCode(rows: readonly OpenTransaction[]): Promise<ReadonlySet<string>> {
    const { rpc, contracts } = this.#parts;
    const unknown = [...new Set(rows.flatMap(({ to, data }) => (to === null || data.length === 0 || contracts.has(to) ? [] : [to])))];
    if (unknown.length === 0) return new Set();
    const answers = await rpc.batch(unknown.map((to) => ({ method: 'eth_getCode', params: [to, 'pending'] })));
    const bare = unknown.filter((_, place) => resultOf(answers[place]) === '0x');
    for (const to of unknown) if (!bare.includes(to)) contracts.add(to);
    return new Set(bare);
  }

  async #transferGas(): Promise<bigint> {
    const { rpc, key } = this.#parts;
    return (quantity.parse(await rpc.call('eth_estimateGas', [{ from: key.address, to: key.address }])) * GAS_MARGIN_PERCENT) / 100n;
  }

  /** A nonce that nobody holds, below one that somebody does: left by a reorganisation that took a foreign transaction away. */
  async #fillGaps(rows: readonly OpenTransaction[], { nonce: next }: View): Promise<void> {
    const { store, orgId, signerId, key } = this.#parts;
    if (rows.some(({ state }) => state === 'queued')) return;
    const held = new Set(rows.flatMap(({ nonce }) => (nonce !== null && nonce >= next ? [nonce] : [])));
    const highest = Math.max(next - 1, ...held);
    for (let nonce = next; nonce < highest; nonce += 1) if (!held.has(nonce)) await store.fillGap(orgId, signerId, randomUUID(), key.address, nonce);
  }

  /** Signs, writes down, sends: in this order. While some are with the nodes, the next are signed. */
  async #signAndSend(ready: readonly Ready[], kind: AttemptKind): Promise<void> {
    let written: NewAttempt[] = [];
    for (const part of [...partsOf(ready, SENT_TOGETHER), []]) {
      const [sent, next] = await Promise.allSettled([this.#broadcast(written), this.#write(part, kind)]);
      if (sent.status === 'rejected') throw sent.reason;
      if (next.status === 'rejected') throw next.reason;
      written = next.value;
    }
  }

  /** @returns versions that are written down now: another process may have been quicker with others. */
  async #write(ready: readonly Ready[], kind: AttemptKind): Promise<NewAttempt[]> {
    const { store, orgId, seenAt } = this.#parts;
    const attempts: NewAttempt[] = [];
    for (const part of partsOf(ready, SIGNED_TOGETHER)) {
      attempts.push(...(await Promise.all(part.map((one) => this.#sign(one, kind)))));
      await othersFirst();
    }
    const fresh = await store.sign(orgId, attempts);
    for (const { hash } of attempts) seenAt.set(hash, this.#head);
    return attempts.filter(({ hash }) => fresh.has(hash));
  }

  async #sign({ row, gas, fees }: Ready, kind: AttemptKind): Promise<NewAttempt> {
    const { chainId, key } = this.#parts;
    const nonce = row.nonce ?? 0;
    const what = kind === 'cancel' ? { to: key.address, value: 0n, data: '0x' } : { to: row.to, value: BigInt(row.value), data: `0x${row.data.toString('hex')}` };
    const transaction = Transaction.from({ type: 2, chainId, nonce, gasLimit: gas, maxFeePerGas: fees.maxFee, maxPriorityFeePerGas: fees.priorityFee, ...what });
    transaction.signature = await key.sign(transaction.unsignedHash);
    if (transaction.hash === null) throw new HalError('Internal', 'a signed transaction has no hash');
    return { transactionId: row.id, n: (row.attempts.at(-1)?.n ?? 0) + 1, kind, nonce, hash: transaction.hash, raw: Buffer.from(transaction.serialized.slice(2), 'hex'), maxFee: String(fees.maxFee), priorityFee: String(fees.priorityFee) };
  }

  async #broadcast(versions: readonly { readonly transactionId: string; readonly hash: string; readonly raw: Buffer; readonly nonce: number }[]): Promise<void> {
    const { rpc, store, orgId } = this.#parts;
    if (versions.length === 0) return;
    const inOrder = [...versions].sort((a, b) => a.nonce - b.nonce);
    const answers = await rpc.batch(inOrder.map(({ raw }) => ({ method: 'eth_sendRawTransaction', params: [`0x${raw.toString('hex')}`] })));
    await store.noteBroadcasts(orgId, inOrder.map(({ transactionId, hash }, place) => ({ transactionId, hash, rejection: rejectionOf(answers[place]) })));
  }
}

/** The node's words, unless they only say that it has the transaction. */
function rejectionOf(answer: RpcAnswer | undefined): string | null {
  if (answer === undefined || !('error' in answer)) return null;
  const { message } = answer.error;
  return /already (known|imported|exists)|nonce (is )?too low/i.test(message) ? null : message.slice(0, 300);
}

/** A signed version of a transaction. */
interface Version {
  readonly id: string;
  readonly hash: string;
  readonly kind: AttemptKind;
}

function receiptCall({ hash }: Version): RpcCall {
  return { method: 'eth_getTransactionReceipt', params: [hash] };
}

function receiptIn(answer: RpcAnswer | undefined): Receipt | undefined {
  return answer === undefined || 'error' in answer || answer.result === null ? undefined : receiptSchema.parse(answer.result);
}

function receiptsIn(answer: RpcAnswer): Receipt[] {
  return 'error' in answer || answer.result === null ? [] : z.array(receiptSchema).parse(answer.result);
}

/** Whether the node counts it among what it has: surely only where no other version has the same nonce. */
function isPooled({ nonce, attempts }: OpenTransaction, { pooled }: View): boolean {
  const versions = attempts.filter((attempt) => attempt.nonce === nonce);
  return nonce !== null && nonce < pooled && versions.length === 1 && versions[0]?.rejection === null;
}

/** Queued transactions up to the last one whose gas may be estimated in this step. */
function estimable(groups: readonly Group[]): readonly Group[] {
  const asked = groups.flatMap(([{ gasLimit }], place) => (gasLimit === null ? [place] : []));
  return groups.slice(0, asked[ESTIMATED_A_STEP] ?? groups.length);
}

function lower(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

function partsOf<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, part) => items.slice(part * size, (part + 1) * size));
}

function minedOf({ id, kind }: Version, receipt: Receipt | undefined): Mined[] {
  if (receipt === undefined) return [];
  return [
    {
      id,
      outcome: kind === 'cancel' ? 'cancelled' : receipt.status === 1n ? 'succeeded' : 'reverted',
      hash: receipt.transactionHash,
      blockNumber: Number(receipt.blockNumber),
      blockHash: receipt.blockHash,
      gasUsed: Number(receipt.gasUsed),
      gasPrice: String(receipt.effectiveGasPrice),
      contractAddress: receipt.contractAddress ?? null,
    },
  ];
}

function troubleOf(error: unknown): Trouble | undefined {
  if (!(error instanceof HalError)) return undefined;
  const { type, message } = error;
  return type === 'ChainUnreachable' || type === 'ChainMismatch' || type === 'ChainRefused' || type === 'SignerUnavailable' ? { type, detail: message } : undefined;
}
