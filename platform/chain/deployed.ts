import { AbiCoder, Interface, type InterfaceAbi } from 'ethers';

/** A contract whose interface is known: a module of `contracts/`. */
export interface ContractModule {
  readonly name: string;
  readonly abi: InterfaceAbi;
  /** `0x` and hexadecimal; what deploys it, without arguments. */
  readonly bytecode: string;
}

/** Data of a transaction that deploys a contract. */
export function deploymentOf(contract: ContractModule, args: readonly unknown[]): string {
  return contract.bytecode + new Interface(contract.abi).encodeDeploy([...args]).slice(2);
}

/** Something of each: `uint256`, `address`, … */
export function encodeWords(types: readonly string[], values: readonly unknown[]): string {
  return AbiCoder.defaultAbiCoder().encode([...types], [...values]);
}
