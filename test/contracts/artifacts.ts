import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const ROOT = join(import.meta.dirname, '../..');
const BUILT = join(ROOT, '.cache/contracts/out');
const COMMITTED = join(ROOT, 'platform/chain/contracts');

/** Contracts that are deployed: name in Solidity and file of its interface in TypeScript. */
export const ARTIFACTS = {
  IncentiveToken: 'incentive-token',
  NeuronRegistry: 'neuron-registry',
  ComputationMarket: 'computation-market',
  Governance: 'governance',
  TimelockController: 'timelock',
  MemoryAnchor: 'memory-anchor',
} as const;
export type ContractName = keyof typeof ARTIFACTS;

const builtSchema = z.object({ abi: z.array(z.unknown()), bytecode: z.object({ object: z.string().regex(/^0x[0-9a-f]+$/) }) });

export function committedFile(contract: ContractName): string {
  return join(COMMITTED, `${ARTIFACTS[contract]}.ts`);
}

/** The TypeScript that belongs to what forge built last. */
export async function artifactSource(contract: ContractName): Promise<string> {
  const { abi, bytecode } = builtSchema.parse(JSON.parse(await readFile(join(BUILT, `${contract}.sol`, `${contract}.json`), 'utf8')));
  return [
    '// Made of the Solidity sources by `npm run contracts -- artifacts`.',
    '',
    `export const ${constantOf(contract)} = {`,
    `  name: '${contract}',`,
    '  abi: [',
    ...abi.map((entry) => `    ${JSON.stringify(entry)},`),
    '  ],',
    `  bytecode: '${bytecode.object}',`,
    '} as const;',
    '',
  ].join('\n');
}

export async function writeArtifacts(): Promise<void> {
  for (const contract of contractNames()) await writeFile(committedFile(contract), await artifactSource(contract));
}

export function contractNames(): ContractName[] {
  return Object.keys(ARTIFACTS).filter((name): name is ContractName => name in ARTIFACTS);
}

function constantOf(contract: string): string {
  return contract.charAt(0).toLowerCase() + contract.slice(1);
}
