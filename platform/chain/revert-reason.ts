import { AbiCoder, Interface } from 'ethers';
import { computationMarket } from './contracts/computation-market.ts';
import { governance } from './contracts/governance.ts';
import { incentiveToken } from './contracts/incentive-token.ts';
import { memoryAnchor } from './contracts/memory-anchor.ts';
import { neuronRegistry } from './contracts/neuron-registry.ts';

/** `Error(string)` and `Panic(uint256)`: https://docs.soliditylang.org/en/latest/control-structures.html#panic-via-assert-and-error-via-require */
const ERROR_SELECTOR = '0x08c379a0';
const PANIC_SELECTOR = '0x4e487b71';

const KNOWN = [computationMarket, governance, incentiveToken, memoryAnchor, neuronRegistry].map(({ abi }) => new Interface(abi));

/** What a node's answer to an estimate says in words: that it cannot be paid, or why the contract would revert. */
export function explainRevert(error: { readonly message: string; readonly data?: unknown }): { readonly type: 'InsufficientFunds' | 'TransactionReverts'; readonly detail: string } {
  if (/insufficient (funds|balance)|exceeds (the )?balance/i.test(error.message) && dataOf(error.data) === undefined) return { type: 'InsufficientFunds', detail: error.message.slice(0, 300) };
  const data = dataOf(error.data);
  return { type: 'TransactionReverts', detail: (data === undefined ? undefined : reasonOf(data))?.slice(0, 300) ?? error.message.slice(0, 300) };
}

/** Of what a contract returned when it reverted; undefined when it says nothing HAL9 can read. */
export function reasonOf(data: string): string | undefined {
  const selector = data.slice(0, 10);
  if (selector === ERROR_SELECTOR) return String(AbiCoder.defaultAbiCoder().decode(['string'], `0x${data.slice(10)}`)[0]);
  if (selector === PANIC_SELECTOR) return `panic 0x${BigInt(`0x${data.slice(10)}`).toString(16)}`;
  for (const contract of KNOWN) {
    const error = contract.getError(selector);
    if (error !== null) return `${error.name}(${contract.decodeErrorResult(error, data).join(', ')})`;
  }
  return undefined;
}

function dataOf(data: unknown): string | undefined {
  return typeof data === 'string' && /^0x[0-9a-fA-F]{8,}$/.test(data) ? data.toLowerCase() : undefined;
}
