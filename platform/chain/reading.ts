import { Interface, type InterfaceAbi } from 'ethers';
import { HalError } from '../../schemas/errors.ts';
import type { ChainRecord } from '../../database/chains.ts';
import type { Egress } from '../connections/egress.ts';
import { rpcUrlsOf } from './chains.ts';
import { ChainRpc, hex, resultOf } from './rpc.ts';
import type { KeyPlaces } from './signer-key.ts';

/** One call of a view of a contract. */
export interface View {
  readonly to: string;
  readonly abi: Interface;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** The nodes of a chain of an organisation. */
export function openChain({ egress, places }: { readonly egress: Pick<Egress, 'request'>; readonly places: Pick<KeyPlaces, 'keys'> }, orgId: string, chain: ChainRecord, signal?: AbortSignal): ChainRpc {
  return new ChainRpc({ egress, urls: rpcUrlsOf(places, orgId, chain), chainId: chain.chainId, quorum: chain.policy.quorum, signal });
}

export function interfaceOf({ abi }: { readonly abi: InterfaceAbi }): Interface {
  return new Interface(abi);
}

/**
 * Asks views of contracts, all of one node.
 * @param block its number; default the last one.
 * @returns what each answers, one value or a list of them.
 * @throws {HalError} `NoContract` when an address has no code or speaks another interface; those of {@link ChainRpc.batch}.
 */
export async function readViews(rpc: ChainRpc, views: readonly View[], block?: bigint): Promise<unknown[]> {
  const answers = await rpc.batch(views.map(({ to, abi, name, args }) => ({ method: 'eth_call', params: [{ to, data: abi.encodeFunctionData(name, [...args]) }, block === undefined ? 'latest' : hex(block)] })));
  return views.map(({ to, abi, name }, place) => {
    const answer = answers[place];
    if (answer !== undefined && 'error' in answer && /revert|invalid opcode|stack/i.test(answer.error.message)) throw new HalError('NoContract', `${to} does not answer ${name}: another contract is there`);
    const data = resultOf(answer);
    if (typeof data !== 'string' || data === '0x') throw new HalError('NoContract', `${to} does not answer ${name}: no contract, or another one, is there`);
    try {
      const values = abi.decodeFunctionResult(name, data);
      return values.length === 1 ? (values[0] as unknown) : [...values];
    } catch (error) {
      throw new HalError('NoContract', `${to} answers ${name} in another form: another contract is there`, { cause: error });
    }
  });
}

/** A struct that a view answered, as an object. */
export function structOf(value: unknown): unknown {
  const toObject: unknown = typeof value === 'object' && value !== null && 'toObject' in value ? value.toObject : undefined;
  return typeof toObject === 'function' ? toObject.call(value, true) : value;
}
