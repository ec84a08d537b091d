import { MaxUint256 } from 'ethers';
import { z } from 'zod';
import { ChainStore, type SignerRecord } from '../../../database/chains.ts';
import type { TransactionRecord } from '../../../database/chain-transactions.ts';
import { ConsensusStore, type ConsensusPhase, type ConsensusStanding, type ResultRecord } from '../../../database/consensus.ts';
import type { Database } from '../../../database/database.ts';
import { HalError } from '../../../schemas/errors.ts';
import type { ConsensusInput, ConsensusResult, ConsensusVoter } from '../../../schemas/operations/consensus.ts';
import { actOf } from '../../audit/act.ts';
import type { Egress } from '../../connections/egress.ts';
import type { Caller } from '../../identity/caller.ts';
import { incentiveToken } from '../contracts/incentive-token.ts';
import { neuronRegistry } from '../contracts/neuron-registry.ts';
import { Networks, type OpenNetwork } from '../networks.ts';
import { effectivePolicy } from '../policy.ts';
import { interfaceOf, readViews, structOf } from '../reading.ts';
import { quantity } from '../rpc.ts';
import { openSignerKey, type KeyPlaces } from '../signer-key.ts';
import type { SignerKey } from '../signing-key.ts';
import { Submissions, cameToNothing, failureOf } from '../submissions.ts';
import { MARKET, readRequest, readSettlement, requestIdOf, verdictOf, type RequestView, type RoundView, type SettlementView } from './market.ts';
import { commitmentOf, hashOf, saltOf, signVote, type Ballot } from './vote.ts';

const TOKEN = interfaceOf(incentiveToken);
const REGISTRY = interfaceOf(neuronRegistry);
const PURPOSE = 'consensus-results';
/** Round under which what a challenger found is kept: it votes in none. */
export const CHALLENGER_ROUND = -1;
/** Rounds of a request: `MAX_ROUNDS` of the contract. */
const MOST_ROUNDS = 3;
const BPS = 10_000;
const ROLE_COMPUTE = 1n;
const ROLE_ARBITRATE = 4n;
/** Attempts of a vote that fails before the neuron is given up for the round. */
const MOST_ATTEMPTS = 5;
/** After a deadline, until a block has a later time, ms. */
const MARGIN_MS = 500;
const LONGEST_WAIT_MS = 300_000;

const receiptSchema = z.object({ logs: z.array(z.object({ address: z.string(), topics: z.array(z.string()), data: z.string() })) }).nullable();
const keptSchema = z.object({ hash: z.string(), value: z.unknown() });

/** Where a round stands, and what it waits for. */
export interface Standing {
  readonly phase: ConsensusPhase;
  /** Decimal; null until the request is open. */
  readonly requestId: string | null;
  readonly round: number;
  /** Whether there is something to send in this phase now. */
  readonly act: boolean;
  /** Milliseconds after which it looks different by itself. */
  readonly waitMs: number;
  /** Votes that have to be computed, by round and signer. */
  readonly compute: readonly { readonly round: number; readonly voter: ConsensusVoter }[];
  readonly final: boolean;
}

export interface RoundsDependencies {
  readonly database: Database;
  readonly egress: Pick<Egress, 'request'>;
  readonly places: KeyPlaces;
}

interface Network extends OpenNetwork {
  readonly pollMs: number;
  /** Blocks on top of the settlement until it is final. */
  readonly finalDepth: number;
}

/**
 * One consensus. Nothing is remembered of the chain: every step looks at it anew, and sends what is missing there under a reference that makes it one transaction.
 */
export class ConsensusRounds {
  readonly #dependencies: RoundsDependencies;
  readonly #caller: Caller;
  readonly #id: string;
  readonly #input: ConsensusInput;
  readonly #store: ConsensusStore;
  readonly #chains: ChainStore;
  readonly #networks: Networks;
  readonly #submissions: Submissions;

  constructor(dependencies: RoundsDependencies, caller: Caller, id: string, input: ConsensusInput) {
    this.#dependencies = dependencies;
    this.#caller = caller;
    this.#id = id;
    this.#input = input;
    this.#store = new ConsensusStore(dependencies.database);
    this.#chains = new ChainStore(dependencies.database);
    this.#networks = new Networks(dependencies);
    this.#submissions = new Submissions({ ...dependencies, caller });
  }

  /**
   * Checks that it can be, before anything is paid, and writes it down.
   * @throws {HalError} `NotFound`, `InvalidInput`, `InsufficientFunds`, `NoContract`, `ChainMismatch`, `ChainUnreachable`.
   */
  async prepare(signal: AbortSignal): Promise<void> {
    const { requester, voters, dispute, mode, payment } = this.#input;
    const { network, chain, rpc } = await this.#network(signal);
    const asked = [...voters, ...(dispute?.voters ?? [])];
    const [payer, ...signers] = await Promise.all([requester, ...asked.map(({ signer }) => signer), ...(dispute === undefined ? [] : [dispute.challenger.signer])].map((id) => this.#signer(id, chain.id)));
    if (payer === undefined) throw new HalError('NotFound', 'there is no such signer');
    const views = signers.slice(0, asked.length).map(({ address }) => ({ to: network.registry, abi: REGISTRY, name: 'neuronOf', args: [address] }));
    const [balance, minBond, ...neurons] = await readViews(rpc, [{ to: network.token, abi: TOKEN, name: 'balanceOf', args: [payer.address] }, { to: network.registry, abi: REGISTRY, name: 'MIN_BOND', args: [] }, ...views]);
    const coins = quantity.parse(await rpc.call('eth_getBalance', [payer.address, 'latest']));
    if (coins === 0n) throw new HalError('InsufficientFunds', `the signer ${payer.address} has no coins to pay for gas`);
    if (z.bigint().parse(balance) < BigInt(payment)) throw new HalError('InsufficientFunds', `the payment is ${payment}, the signer ${payer.address} has ${String(balance)} (10^-18 HAL9)`);
    neurons.forEach((neuron, place) => {
      const { bond, roles, exitAt } = z.object({ bond: z.bigint(), roles: z.bigint(), exitAt: z.bigint() }).parse(structOf(neuron));
      const who = signers[place]?.address ?? '';
      const role = place < voters.length ? ROLE_COMPUTE : ROLE_ARBITRATE;
      if (roles === 0n || exitAt !== 0n || bond < z.bigint().parse(minBond)) throw new HalError('InvalidInput', `the neuron ${who} is not registered with enough of a bond, or is leaving`);
      if ((roles & role) === 0n) throw new HalError('InvalidInput', `the neuron ${who} lacks the role for its round`);
    });
    if (mode === 'off-chain') await this.#checkPanel(network.market, rpc, signers.slice(0, voters.length));
    await this.#store.insert(this.#caller.orgId, { id: this.#id, networkId: network.id, requester, mode, spec: this.#spec() }, actOf(this.#caller, 'consensus.open', { kind: 'consensus', id: this.#id }, { network: network.id, payment }));
  }

  /** Looks at the chain, writes down what it says, and tells what is to be done. */
  async look(forced: boolean, signal: AbortSignal): Promise<Standing> {
    const network = await this.#network(signal);
    const requestId = await this.#requestId(network);
    if (typeof requestId !== 'bigint') {
      await this.#follow({ phase: requestId, requestId: null, round: 0, resultHash: null, paid: null, slashed: null, blockNumber: null, blockHash: null, final: false, votes: [] });
      return { phase: requestId, requestId: null, round: 0, act: true, waitMs: network.pollMs, compute: [], final: false };
    }
    const view = await readRequest(network.rpc, network.network.market, requestId);
    // A node that is behind the one that had the receipt.
    if (view.state === 'none') return { phase: 'opening', requestId: null, round: 0, act: true, waitMs: network.pollMs, compute: [], final: false };
    const ending = view.state === 'settled' || view.state === 'refunded' ? await readSettlement(network.rpc, network.network.market, requestId, view.head) : undefined;
    const standing = await this.#judge(network, view, requestId, ending, forced);
    await this.#follow({
      phase: standing.phase,
      requestId: String(requestId),
      round: view.round,
      resultHash: view.result ?? null,
      paid: ending === undefined ? null : String(ending.paid),
      slashed: ending === undefined ? null : String(ending.slashed),
      blockNumber: ending?.blockNumber ?? null,
      blockHash: ending?.blockHash ?? null,
      final: standing.final,
      votes: view.rounds.flatMap(({ round, votes }) => votes.map(({ voter, result }) => ({ round, address: voter, resultHash: result ?? null, verdict: verdictOf(view.state, view.result, result) }))),
    });
    return standing;
  }

  /** Keeps what a neuron found; undefined: nothing, for this reason. */
  async keep(round: number, signerId: string, found: { readonly value: unknown } | { readonly reason: string }): Promise<void> {
    const sealed = 'value' in found ? this.#dependencies.places.keys.seal(this.#caller.orgId, PURPOSE, JSON.stringify({ hash: hashOf(found.value), value: found.value ?? null }), this.#context(round, signerId)) : null;
    await this.#store.keepResult(this.#caller.orgId, this.#id, { round, signerId, sealed, reason: 'reason' in found ? found.reason.slice(0, 500) : null });
  }

  /** Whether a neuron was asked already. */
  async isKept(round: number, signerId: string): Promise<boolean> {
    return (await this.#store.results(this.#caller.orgId, this.#id)).some((result) => result.round === round && result.signerId === signerId);
  }

  /** Puts the payment in escrow. @throws {HalError} saying why it cannot be: nothing is paid then. */
  async open(untilMs: number, signal: AbortSignal): Promise<void> {
    const { requester, payment } = this.#input;
    const network = await this.#network(signal);
    const { market } = network.network;
    await this.#allow(network, requester, BigInt(payment), untilMs, signal);
    const last = await this.#submissions.latest(requester, this.#reference('open'));
    const data = last === undefined || cameToNothing(last) ? await this.#openData(network) : '0x';
    const opened = await this.#submissions.ensure({ signer: requester, reference: this.#reference('open'), to: market, data });
    const [settled] = await this.#submissions.settled([opened], 'confirmed', untilMs, signal);
    if (settled !== undefined && cameToNothing(settled)) throw failureOf(settled);
  }

  /** Sends commits that are due. @returns how many came to nothing. */
  async commit(untilMs: number, signal: AbortSignal): Promise<number> {
    return this.#vote('commit', untilMs, signal, (ballot, result, salt) => MARKET.encodeFunctionData('commit', [ballot.requestId, commitmentOf(ballot, result, salt)]));
  }

  /** Sends reveals that are due. @returns how many came to nothing. */
  async reveal(untilMs: number, signal: AbortSignal): Promise<number> {
    return this.#vote('reveal', untilMs, signal, (ballot, result, salt) => MARKET.encodeFunctionData('reveal', [ballot.requestId, result, salt]));
  }

  /** Reports the signed results of the panel in one transaction. */
  async report(untilMs: number, signal: AbortSignal): Promise<number> {
    const network = await this.#network(signal);
    const requestId = await this.#requestId(network);
    if (typeof requestId !== 'bigint') return 0;
    const found = await this.#found(0);
    const votes = await Promise.all(
      found.map(async ({ signerId, hash }) => {
        const key = await this.#key(signerId, network.chain.id);
        return { voter: key.address, hash, signature: await signVote(key, this.#ballot(network, requestId, 0, key.address), hash) };
      }),
    );
    const data = MARKET.encodeFunctionData('report', [requestId, votes.map(({ voter }) => voter), votes.map(({ hash }) => hash), votes.map(({ signature }) => signature)]);
    return this.#send(network, this.#input.requester, `${String(requestId)} report`, data, untilMs, signal);
  }

  /** Counts the round. */
  async tally(untilMs: number, signal: AbortSignal): Promise<number> {
    return this.#step('tally', this.#input.requester, untilMs, signal);
  }

  /** Doubts the tally with a bond. */
  async challenge(untilMs: number, signal: AbortSignal): Promise<number> {
    const { dispute } = this.#input;
    if (dispute === undefined) return 0;
    const network = await this.#network(signal);
    const [bond] = await readViews(network.rpc, [{ to: network.network.market, abi: MARKET, name: 'CHALLENGE_BOND', args: [] }]);
    await this.#allow(network, dispute.challenger.signer, z.bigint().parse(bond), untilMs, signal);
    return this.#step('challenge', dispute.challenger.signer, untilMs, signal);
  }

  /** Pays and slashes. */
  async settle(untilMs: number, signal: AbortSignal): Promise<number> {
    return this.#step('settle', this.#input.requester, untilMs, signal);
  }

  /** How it ended, of what was written down at the last look. */
  async ending(): Promise<ConsensusResult> {
    const found = await this.#store.find(this.#caller.orgId, this.#id);
    if (found === undefined || (found.request.phase !== 'settled' && found.request.phase !== 'refunded')) throw new HalError('Internal', 'the round has not ended');
    const { request, votes } = found;
    const count = (verdict: string): number => votes.filter((vote) => vote.verdict === verdict).length;
    const ours = (await this.#store.results(this.#caller.orgId, this.#id)).map((result) => this.#opened(result)).find((kept) => kept !== undefined && kept.hash === request.resultHash);
    return {
      state: found.request.phase,
      requestId: request.requestId ?? '',
      rounds: request.round + 1,
      resultHash: request.resultHash,
      result: ours?.value ?? null,
      right: count('right'),
      wrong: count('wrong'),
      silent: count('silent'),
      paid: request.paid ?? '0',
      slashed: request.slashed ?? '0',
    };
  }

  async #judge(network: Network, view: RequestView, requestId: bigint, ending: SettlementView | undefined, forced: boolean): Promise<Standing> {
    const round = view.rounds[view.round];
    if (round === undefined) throw new HalError('Internal', 'a request has no round');
    const until = (seconds: number): number => Math.min(LONGEST_WAIT_MS, Math.max(0, (seconds - view.now) * 1000) + MARGIN_MS);
    const base = { requestId: String(requestId), round: view.round, compute: [], final: false, act: false };
    switch (view.state) {
      case 'open': {
        const compute = await this.#uncomputed(view);
        const open = { ...base, compute };
        if (view.offChain && view.round === 0) {
          if (view.now >= round.revealEnds) return { ...open, phase: 'tallying', act: true, waitMs: network.pollMs };
          const ready = (compute.every((one) => one.round !== 0) || view.now >= round.commitEnds) && (await this.#isQuorum(round));
          const soon = view.now < round.commitEnds ? round.commitEnds : round.revealEnds;
          return { ...open, phase: 'reporting', act: ready, waitMs: ready ? network.pollMs : until(soon) };
        }
        if (view.now < round.commitEnds) {
          const act = (await this.#due(network, view, 'commit')).length > 0;
          return { ...open, phase: 'committing', act, waitMs: act ? network.pollMs : until(round.commitEnds) };
        }
        const complete = round.commits > 0 && round.reveals === round.commits;
        if (complete || view.now >= round.revealEnds) return { ...open, phase: 'tallying', act: true, waitMs: network.pollMs };
        const act = (await this.#due(network, view, 'reveal')).length > 0;
        // Others reveal meanwhile, and then it may be counted before the time is over.
        return { ...open, phase: 'revealing', act, waitMs: act ? network.pollMs : Math.min(until(round.revealEnds), 20 * network.pollMs) };
      }
      case 'tallied': {
        const open = view.now < round.challengeEnds;
        if (!open) return { ...base, phase: 'settling', act: true, waitMs: network.pollMs };
        const act = await this.#isDoubted(view, round, forced);
        return { ...base, phase: 'challengeable', act, waitMs: act ? network.pollMs : until(round.challengeEnds) };
      }
      case 'settled':
      case 'refunded': {
        const left = ending === undefined ? 0 : network.finalDepth - (Number(view.head) - ending.blockNumber + 1);
        return { ...base, phase: view.state, final: left <= 0, waitMs: Math.min(LONGEST_WAIT_MS, Math.max(network.pollMs, Math.ceil(left / 2) * network.pollMs)) };
      }
      case 'none':
        throw new HalError('Internal', 'the request is not there');
    }
  }

  /** The request's id once its opening is deep enough; otherwise the phase. */
  async #requestId({ rpc, network }: Network): Promise<bigint | 'unopened' | 'opening'> {
    const opened = await this.#submissions.latest(this.#input.requester, this.#reference('open'));
    if (opened === undefined || cameToNothing(opened)) return 'unopened';
    // Votes for a request that a reorganisation gives another id would be votes for somebody else's.
    if (opened.state !== 'confirmed' || opened.hash === null) return 'opening';
    const receipt = receiptSchema.parse(await rpc.call('eth_getTransactionReceipt', [opened.hash]));
    return (receipt === null ? undefined : requestIdOf(network.market, receipt.logs)) ?? 'opening';
  }

  /** Neurons of ours for a round, in the order of the input. */
  #votersOf(rounds: readonly RoundView[], round: number): readonly ConsensusVoter[] {
    if (round === 0) return this.#input.voters;
    const before = rounds.slice(1, round).reduce((sum, { minNeurons }) => sum + minNeurons, 0);
    return (this.#input.dispute?.voters ?? []).slice(before, before + (rounds[round]?.minNeurons ?? 0));
  }

  async #uncomputed(view: RequestView): Promise<Standing['compute']> {
    const asked = new Set((await this.#store.results(this.#caller.orgId, this.#id)).map(({ round, signerId }) => `${String(round)} ${signerId}`));
    const { dispute } = this.#input;
    const wanted = [...this.#votersOf(view.rounds, view.round).map((voter) => ({ round: view.round, voter })), ...(dispute === undefined ? [] : [{ round: CHALLENGER_ROUND, voter: dispute.challenger }])];
    return wanted.filter(({ round, voter }) => !asked.has(`${String(round)} ${voter.signer}`));
  }

  /** Votes of ours that are computed and not on the chain, with their ballots. */
  async #due(network: Network, view: RequestView, step: 'commit' | 'reveal'): Promise<readonly { readonly signerId: string; readonly address: string; readonly hash: string }[]> {
    const round = view.rounds[view.round];
    const due = [];
    for (const { signerId, hash } of await this.#found(view.round)) {
      const { address } = await this.#signer(signerId, network.chain.id);
      const vote = round?.votes.find(({ voter }) => voter === address);
      if (step === 'commit' ? vote?.committed === true : vote?.committed !== true || vote.result !== undefined) continue;
      const last = await this.#submissions.latest(signerId, this.#reference(`${view.requestIdText} ${String(view.round)} ${step}`));
      if (last !== undefined && cameToNothing(last) && attemptsOf(last) >= MOST_ATTEMPTS) continue;
      due.push({ signerId, address, hash });
    }
    return due;
  }

  async #vote(step: 'commit' | 'reveal', untilMs: number, signal: AbortSignal, encode: (ballot: Ballot, result: string, salt: string) => string): Promise<number> {
    const network = await this.#network(signal);
    const requestId = await this.#requestId(network);
    if (typeof requestId !== 'bigint') return 0;
    const view = await readRequest(network.rpc, network.network.market, requestId);
    const due = await this.#due(network, view, step);
    const sent = await Promise.all(
      due.map(async ({ signerId, address, hash }) => {
        const key = await this.#key(signerId, network.chain.id);
        const ballot = this.#ballot(network, requestId, view.round, address);
        const data = encode(ballot, hash, await saltOf(key, ballot));
        return this.#submissions.ensure({ signer: signerId, reference: this.#reference(`${view.requestIdText} ${String(view.round)} ${step}`), to: network.network.market, data });
      }),
    );
    return (await this.#submissions.settled(sent, 'mined', untilMs, signal)).filter(cameToNothing).length;
  }

  async #step(name: 'tally' | 'challenge' | 'settle', signer: string, untilMs: number, signal: AbortSignal): Promise<number> {
    const network = await this.#network(signal);
    const requestId = await this.#requestId(network);
    if (typeof requestId !== 'bigint') return 0;
    const view = await readRequest(network.rpc, network.network.market, requestId);
    return this.#send(network, signer, `${String(requestId)} ${String(view.round)} ${name}`, MARKET.encodeFunctionData(name, [requestId]), untilMs, signal);
  }

  /** @returns 1 when it came to nothing because the chain stands otherwise by now. @throws {HalError} where somebody must do something. */
  async #send(network: Network, signer: string, reference: string, data: string, untilMs: number, signal: AbortSignal): Promise<number> {
    const sent = await this.#submissions.ensure({ signer, reference: this.#reference(reference), to: network.network.market, data });
    const [settled] = await this.#submissions.settled([sent], 'mined', untilMs, signal);
    if (settled === undefined || !cameToNothing(settled)) return 0;
    const failure = failureOf(settled);
    if (failure.type === 'InsufficientFunds') throw failure;
    return 1;
  }

  /** Lets the market take what it needs: without bound, since requests of one signer overlap; it takes only payments and bonds. */
  async #allow({ network, rpc }: Network, signerId: string, least: bigint, untilMs: number, signal: AbortSignal): Promise<void> {
    const { address } = await this.#signer(signerId, network.chain);
    const [allowed] = await readViews(rpc, [{ to: network.token, abi: TOKEN, name: 'allowance', args: [address, network.market] }]);
    if (z.bigint().parse(allowed) >= least) return;
    const approved = await this.#submissions.ensure({ signer: signerId, reference: `allowance ${network.id}`, to: network.token, data: TOKEN.encodeFunctionData('approve', [network.market, MaxUint256]) });
    const [settled] = await this.#submissions.settled([approved], 'mined', untilMs, signal);
    if (settled !== undefined && cameToNothing(settled)) throw failureOf(settled);
  }

  async #openData({ chain }: Network): Promise<string> {
    const { voters, mode, payment, minNeurons, share, commitSeconds, revealSeconds, challengeSeconds } = this.#input;
    const offChain = mode === 'off-chain';
    const panel = offChain ? await Promise.all(voters.map(async ({ signer }) => (await this.#signer(signer, chain.id)).address)) : [];
    return MARKET.encodeFunctionData('open', [{ spec: this.#spec(), payment: BigInt(payment), commitSeconds, revealSeconds, challengeSeconds, minNeurons, shareBps: Math.round(share * BPS), offChain }, panel]);
  }

  async #checkPanel(market: string, rpc: Network['rpc'], panel: readonly SignerRecord[]): Promise<void> {
    const listings = (await readViews(rpc, panel.map(({ address }) => ({ to: market, abi: MARKET, name: 'listings', args: [address] })))).map((listing) => z.tuple([z.bigint(), z.boolean(), z.string()]).parse(listing));
    listings.forEach(([, active], place) => {
      if (!active) throw new HalError('InvalidInput', `the neuron ${panel[place]?.address ?? ''} is not for hire: list it in the market first`);
    });
    const least = listings.reduce((sum, [price]) => sum + price, 0n);
    if (BigInt(this.#input.payment) < least) throw new HalError('InvalidInput', `the neurons ask for ${String(least)} together`, { errors: [{ path: '/payment', message: `at least ${String(least)}` }] });
  }

  /** Whether what the panel found would be taken as a report. */
  async #isQuorum({ minNeurons }: RoundView): Promise<boolean> {
    const { share, voters } = this.#input;
    const found = await this.#found(0);
    const counts = [...Map.groupBy(found, ({ hash }) => hash).values()].map((group) => group.length).sort((a, b) => b - a);
    const [leading = 0, second = 0] = counts;
    return found.length >= minNeurons && leading > second && leading * BPS >= Math.round(share * BPS) * voters.length;
  }

  async #isDoubted(view: RequestView, round: RoundView, forced: boolean): Promise<boolean> {
    if (this.#input.dispute === undefined || view.round + 1 >= MOST_ROUNDS) return false;
    const next = [...view.rounds, { ...round, round: view.round + 1, minNeurons: 2 * round.minNeurons + 1 }];
    if (this.#votersOf(next, view.round + 1).length === 0) return false;
    if (forced) return true;
    const own = (await this.#found(CHALLENGER_ROUND))[0];
    return own !== undefined && own.hash !== round.outcome;
  }

  async #found(round: number): Promise<readonly { readonly signerId: string; readonly hash: string }[]> {
    const results = await this.#store.results(this.#caller.orgId, this.#id);
    return results.flatMap((result) => {
      const kept = result.round === round ? this.#opened(result) : undefined;
      return kept === undefined ? [] : [{ signerId: result.signerId, hash: kept.hash }];
    });
  }

  #opened({ round, signerId, sealed }: ResultRecord): z.output<typeof keptSchema> | undefined {
    if (sealed === null) return undefined;
    return keptSchema.parse(JSON.parse(this.#dependencies.places.keys.open(this.#caller.orgId, PURPOSE, sealed, this.#context(round, signerId)).toString('utf8')));
  }

  #context(round: number, signerId: string): string {
    return `${this.#id} ${String(round)} ${signerId}`;
  }

  #spec(): string {
    return hashOf(this.#input.question);
  }

  #reference(step: string): string {
    return `consensus ${this.#id} ${step}`;
  }

  #ballot({ chain, network }: Network, requestId: bigint, round: number, voter: string): Ballot {
    return { chainId: chain.chainId, market: network.market, requestId, round, voter };
  }

  async #network(signal: AbortSignal): Promise<Network> {
    const opened = await this.#networks.open(this.#caller.orgId, this.#input.network, signal);
    const { pollMs, confirmations, watchBlocks } = effectivePolicy(opened.chain.chainId, opened.chain.policy);
    return { ...opened, pollMs, finalDepth: confirmations + watchBlocks };
  }

  async #signer(id: string, chain: string): Promise<SignerRecord> {
    const signer = await this.#chains.signer(this.#caller.orgId, id);
    if (signer === undefined) throw new HalError('NotFound', `there is no signer ${id}`);
    if (signer.chain !== chain) throw new HalError('InvalidInput', `the signer ${id} is on another chain than the network`);
    return signer;
  }

  async #key(id: string, chain: string): Promise<SignerKey> {
    const { keyKind, keyName, sealedKey } = await this.#signer(id, chain);
    return openSignerKey(this.#dependencies.places, this.#caller.orgId, id, { kind: keyKind, name: keyName, sealed: sealedKey });
  }

  async #follow(standing: ConsensusStanding): Promise<void> {
    await this.#store.follow(this.#caller.orgId, this.#id, standing);
  }
}

function attemptsOf({ reference }: TransactionRecord): number {
  return Number(/ #(\d+)$/.exec(reference ?? '')?.[1] ?? 1);
}
