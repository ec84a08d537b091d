import { z } from 'zod';
import { defineOperation } from './operation.ts';

const amount = z.string().regex(/^(0|[1-9][0-9]{0,37})$/, 'a whole number of 10^-18 HAL9, as text');
const DAY = 86_400;

export const chainNetworkInputSchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  signer: z.uuid().describe('Deploys, pays for it, and gets the first part of the token.'),
  genesis: amount.default('200000000000000000000000000').describe('First part of the token, 10^-18 HAL9; the rest is emitted to stakers.'),
  minBond: amount.default('1000000000000000000000').describe('Least bond of a neuron, 10^-18 HAL9.'),
  voteDelaySeconds: z.int().min(0).max(30 * DAY).default(DAY).describe('From a proposal to its snapshot.'),
  votePeriodSeconds: z.int().min(60).max(90 * DAY).default(7 * DAY),
  timelockSeconds: z.int().min(0).max(90 * DAY).default(2 * DAY).describe('From a decision to its execution.'),
  proposalThreshold: amount.default('100000000000000000000000').describe('Votes needed to propose, 10^-18 HAL9.'),
  quorumPercent: z.int().min(1).max(100).default(4),
  handOver: z.boolean().default(true).describe('Whether the deployer gives its admin roles to the timelock. Pausing stays with the deployer.'),
});
export type ChainNetworkInput = z.output<typeof chainNetworkInputSchema>;

export const chainNetworkResultSchema = z.object({ network: z.uuid(), token: z.string(), registry: z.string(), market: z.string(), anchor: z.string(), governance: z.string(), timelock: z.string() });
export type ChainNetworkResult = z.infer<typeof chainNetworkResultSchema>;

export default defineOperation({
  name: 'chain-network',
  summary: 'Deploy the contracts neurons vote, stake and are paid by',
  description: 'Deploys token, registry, market, anchors, governance and its timelock through the sender, gives them their roles, and hands them over to the timelock. Each transaction is sent once, whatever is killed meanwhile.',
  input: chainNetworkInputSchema,
  result: chainNetworkResultSchema,
  permission: 'chains:write',
  timeouts: { execution: '30 days' },
  effect: 'irreversible',
  versioning: 'auto-upgrade',
});
