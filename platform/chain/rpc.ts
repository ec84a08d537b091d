import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import type { Egress } from '../connections/egress.ts';

/** One call of JSON-RPC 2.0. */
export interface RpcCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

/** What a node answered: a result, or its own error, which another node would give as well. */
export type RpcAnswer = { readonly result: unknown } | { readonly error: { readonly message: string; readonly data?: unknown } };

export interface ChainRpcOptions {
  readonly egress: Pick<Egress, 'request'>;
  /** In the order they are asked. */
  readonly urls: readonly string[];
  /** EIP-155; a node of another chain is not used. */
  readonly chainId: number;
  /** Nodes that must agree in {@link ChainRpc.agreed}. */
  readonly quorum: number;
  readonly signal?: AbortSignal | undefined;
}

const ANSWER_MS = 10_000;
const ANSWER_BYTES = 16 * 1024 * 1024;
/** Calls of one request, and characters of their parameters: half of what geth takes (1,000 calls, 5 MiB), for providers take less. */
const MOST_CALLS = 500;
const MOST_CHARACTERS = 2 * 1024 * 1024;
/** How long a node is believed to belong to its chain, ms. */
const TRUSTED_MS = 60_000;

const answerSchema = z.object({ id: z.int(), result: z.unknown().optional(), error: z.object({ message: z.string(), data: z.unknown().optional() }).optional() });
const batchSchema = z.array(answerSchema);

/** The nodes of one chain. */
export class ChainRpc {
  readonly #options: ChainRpcOptions;
  readonly #trustedUntil = new Map<string, number>();
  /** The node that answered last is asked first. */
  #preferred = 0;

  constructor(options: ChainRpcOptions) {
    this.#options = options;
  }

  /**
   * Asks one node everything, so that the answers are of one view of the chain; in several requests where it would be too much for one.
   * @throws {HalError} `ChainUnreachable` when no node answers, `ChainMismatch` when those that do are of another chain.
   */
  async batch(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const { urls, signal } = this.#options;
    let last: unknown;
    for (let turn = 0; turn < urls.length; turn += 1) {
      const place = (this.#preferred + turn) % urls.length;
      try {
        const answers = await this.#ask(urls[place] ?? '', calls);
        this.#preferred = place;
        return answers;
      } catch (error) {
        signal?.throwIfAborted();
        last = error instanceof HalError && error.type === 'ChainMismatch' ? error : (last ?? error);
      }
    }
    if (last instanceof HalError && last.type === 'ChainMismatch') throw last;
    throw new HalError('ChainUnreachable', `none of ${String(urls.length)} nodes answers: ${last instanceof Error ? last.message : String(last)}`, { cause: last });
  }

  /** One call of {@link batch}. @throws {HalError} as there; `ChainRefused` with the node's words for an error of its own. */
  async call(method: string, params: readonly unknown[]): Promise<unknown> {
    const [answer] = await this.batch([{ method, params }]);
    return resultOf(answer);
  }

  /**
   * Asks all nodes, and believes what as many as the quorum say.
   * @param pick what of an answer is compared: nodes differ in fields that do not matter.
   * @returns undefined where fewer agree: ask again later.
   * @throws {HalError} `ChainUnreachable` when too few answer.
   */
  async agreed(method: string, params: readonly unknown[], pick: (result: unknown) => string | undefined): Promise<string | undefined> {
    const { urls, quorum } = this.#options;
    if (quorum === 1) return pick(await this.call(method, params));
    const answers = await Promise.allSettled(urls.map(async (url) => resultOf((await this.#ask(url, [{ method, params }]))[0])));
    const given = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    if (given.length < quorum) throw new HalError('ChainUnreachable', `${String(given.length)} of ${String(urls.length)} nodes answer, ${String(quorum)} must`);
    const groups = Map.groupBy(given, pick);
    return [...groups].find(([, group]) => group.length >= quorum)?.[0];
  }

  async #ask(url: string, calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    if ((this.#trustedUntil.get(url) ?? 0) < Date.now()) {
      const [answer] = await this.#post(url, [{ method: 'eth_chainId', params: [] }]);
      const chainId = Number(z.string().parse(resultOf(answer)));
      if (chainId !== this.#options.chainId) throw new HalError('ChainMismatch', `a node says it is of chain ${String(chainId)}, not ${String(this.#options.chainId)}`);
      this.#trustedUntil.set(url, Date.now() + TRUSTED_MS);
    }
    const answers: RpcAnswer[] = [];
    for (const part of inRequests(calls)) answers.push(...(await this.#post(url, part)));
    return answers;
  }

  async #post(url: string, calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const { egress, signal } = this.#options;
    const timeout = AbortSignal.timeout(ANSWER_MS);
    const body = JSON.stringify(calls.map((call, id) => ({ jsonrpc: '2.0', id, ...call })));
    const answer = await egress.request(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]), limitBytes: ANSWER_BYTES });
    if (answer.status !== 200) throw new HalError('ChainUnreachable', `a node answered with status ${String(answer.status)}`);
    const answers = new Map(batchSchema.parse(JSON.parse(answer.text)).map((one) => [one.id, one]));
    return calls.map((_, id) => {
      const one = answers.get(id);
      if (one === undefined) throw new HalError('ChainUnreachable', 'a node left a call unanswered');
      if (one.error === undefined) return { result: one.result };
      return { error: one.error };
    });
  }
}

/** Calls in their order, as many together as nodes take at once. */
function inRequests(calls: readonly RpcCall[]): RpcCall[][] {
  const requests: RpcCall[][] = [];
  let characters = 0;
  for (const call of calls) {
    const size = JSON.stringify(call.params).length;
    const last = requests.at(-1);
    if (last === undefined || last.length === MOST_CALLS || characters + size > MOST_CHARACTERS) {
      requests.push([call]);
      characters = size;
    } else {
      last.push(call);
      characters += size;
    }
  }
  return requests;
}

/** @throws {HalError} `ChainRefused` with the node's words. */
export function resultOf(answer: RpcAnswer | undefined): unknown {
  if (answer === undefined) throw new HalError('ChainUnreachable', 'a node left a call unanswered');
  if ('error' in answer) throw new HalError('ChainRefused', answer.error.message.slice(0, 300));
  return answer.result;
}

/** A quantity as JSON-RPC writes it. */
export const quantity = z.string().regex(/^0x[0-9a-fA-F]+$/).transform((text) => BigInt(text));

/** Writes a quantity for JSON-RPC. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
