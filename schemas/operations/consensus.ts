import { z } from 'zod';
import { CONSENSUS_CHALLENGE_SIGNAL, CONSENSUS_WAKE_SIGNAL } from '../names/messages.ts';
import { defineOperation } from './operation.ts';

/** Longest step: `MAX_STEP` of the contract. */
const MAX_STEP = 30 * 86_400;
const step = z.int().min(1).max(MAX_STEP);

const voterSchema = z.strictObject({
  signer: z.uuid().describe('Whose key votes; its address must be registered with a bond.'),
  neuron: z.uuid().describe('What computes the result: the data of the one thing it emits for the question.'),
});
export type ConsensusVoter = z.output<typeof voterSchema>;

export const consensusInputSchema = z
  .strictObject({
    network: z.uuid().describe('Of `GET /v1/chain-networks`.'),
    requester: z.uuid().describe('Signer who asks and pays.'),
    mode: z.enum(['on-chain', 'off-chain']).default('on-chain').describe('`on-chain`: neurons commit and reveal. `off-chain`: they sign, and one transaction reports a round.'),
    question: z.strictObject({ type: z.string().min(1).max(256), subject: z.string().max(512).optional(), data: z.unknown().optional() }).describe('A signal that neurons see; nobody else does.'),
    voters: z.array(voterSchema).min(1).max(64).describe('Neurons of this organisation that vote. On-chain others may vote besides.'),
    payment: z.string().regex(/^[1-9][0-9]{0,37}$/, 'a whole number of 10^-18 HAL9, as text').describe('Put in escrow, 10^-18 HAL9.'),
    minNeurons: z.int().min(3).max(64).default(3).describe('Least number of revealed results.'),
    share: z.number().gt(0.5).max(1).default(0.66).describe('Part of the revealed results that must agree.'),
    commitSeconds: step.default(300),
    revealSeconds: step.default(300),
    challengeSeconds: step.default(600),
    dispute: z
      .strictObject({
        challenger: voterSchema.describe('Computes the result as well; a tally with another one, or none, is challenged.'),
        voters: z.array(voterSchema).min(1).max(64).describe('Neurons that vote in disputes, in their order: each round takes twice as many as it had and one more.'),
      })
      .optional(),
  })
  .refine(({ voters, dispute }) => new Set([...voters, ...(dispute?.voters ?? [])].map(({ signer }) => signer)).size === voters.length + (dispute?.voters.length ?? 0), { path: ['voters'], message: 'a signer votes once' })
  .refine(({ mode, voters, minNeurons }) => mode === 'on-chain' || voters.length >= minNeurons, { path: ['voters'], message: 'off-chain all neurons are named here: as many as minNeurons at least' });
export type ConsensusInput = z.output<typeof consensusInputSchema>;

export const consensusResultSchema = z.object({
  state: z.enum(['settled', 'refunded']),
  requestId: z.string(),
  rounds: z.int(),
  resultHash: z.string().nullable(),
  /** Of a neuron of ours that found it. */
  result: z.unknown(),
  right: z.int(),
  wrong: z.int(),
  silent: z.int(),
  /** 10^-18 HAL9. */
  paid: z.string(),
  slashed: z.string(),
});
export type ConsensusResult = z.infer<typeof consensusResultSchema>;

export default defineOperation({
  name: 'consensus',
  summary: 'Have several neurons compute a result, judged and paid on a chain',
  description:
    'Opens a request with its payment in escrow; neurons compute independently, commit and reveal (or sign, in the off-chain mode), are counted, may be challenged, and are paid or slashed. Each step follows from what the chain says, so a reorganisation of any depth only repeats what it took away. The run ends when the settlement is final by the policy of the chain.',
  input: consensusInputSchema,
  result: consensusResultSchema,
  signals: {
    [CONSENSUS_WAKE_SIGNAL]: { description: 'Something happened on the chain: look now.', payload: z.object({}) },
    [CONSENSUS_CHALLENGE_SIGNAL]: { description: 'The challenger is to doubt the tally, whatever it computed.', payload: z.object({}), permission: 'chain-transactions:write' },
  },
  permission: 'chain-transactions:write',
  timeouts: { execution: '365 days' },
  effect: 'irreversible',
  versioning: 'auto-upgrade',
});
