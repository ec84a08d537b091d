import { z } from 'zod';
import { pageQuery } from './page.ts';

const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/, '0x and 40 hexadecimal digits');

export const networkDraft = z.strictObject({
  name: z.string().trim().min(1).max(200),
  chain: z.uuid(),
  token: address.describe('IncentiveToken.'),
  registry: address.describe('NeuronRegistry.'),
  market: address.describe('ComputationMarket; the registry must have given it MARKET_ROLE.'),
  anchor: address.describe('MemoryAnchor.'),
  governance: address.optional().describe('Governance.'),
  timelock: address.optional().describe('The timelock of Governance.'),
});
export type NetworkDraft = z.output<typeof networkDraft>;

export const networkParams = z.object({ id: z.uuid() });

export const networkView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    chain: z.uuid(),
    token: z.string(),
    registry: z.string(),
    market: z.string(),
    anchor: z.string(),
    governance: z.string().nullable(),
    timelock: z.string().nullable(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'ChainNetwork' });

export const consensusQuery = pageQuery;

const PHASES = ['unopened', 'opening', 'committing', 'revealing', 'reporting', 'tallying', 'challengeable', 'settling', 'settled', 'refunded'] as const;

export const consensusView = z
  .object({
    id: z.uuid(),
    runId: z.string(),
    network: z.uuid(),
    requester: z.uuid(),
    mode: z.enum(['on-chain', 'off-chain']),
    phase: z.enum(PHASES).describe('As the chain has it; a reorganisation takes it back.'),
    requestId: z.string().nullable().describe('In the market.'),
    round: z.int().describe('From 0; each dispute opens another one.'),
    resultHash: z.string().nullable(),
    paid: z.string().nullable().describe('What those who were right share, 10^-18 HAL9.'),
    slashed: z.string().nullable().describe('What the others lost, 10^-18 HAL9.'),
    blockNumber: z.int().nullable().describe('Of the settlement.'),
    final: z.boolean().describe('So deep in the chain that it is not followed any more.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Consensus' });

export const consensusDetail = consensusView
  .extend({
    votes: z.array(z.object({ round: z.int(), address: z.string(), resultHash: z.string().nullable(), verdict: z.enum(['right', 'wrong', 'silent']).nullable() })),
  })
  .meta({ id: 'ConsensusDetail' });
