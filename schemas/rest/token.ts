import { z } from 'zod';

const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/, '0x and 40 hexadecimal digits');
const amount = z.string().regex(/^[1-9][0-9]{0,37}$/, 'a whole number of 10^-18 HAL9, as text');
const hash = z.string().regex(/^0x[0-9a-fA-F]{64}$/, '0x and 64 hexadecimal digits');
const data = z.string().regex(/^0x([0-9a-fA-F]{2})*$/, '0x and bytes in hexadecimal').max(65_538);
const proposal = z.strictObject({
  calls: z.array(z.strictObject({ to: address, data })).min(1).max(20).describe('What the timelock executes when it is accepted.'),
  description: z.string().min(1).max(4000),
});

/** What an account does with the token, as a neuron, and in governance. */
export const tokenAction = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('transfer'), to: address, amount }),
  z.strictObject({ kind: z.literal('stake'), amount, lockDays: z.int().min(7).max(730) }).describe('The longer the lock, the more it weighs: up to three times.'),
  z.strictObject({ kind: z.literal('unstake'), position: z.int().min(0).max(63) }),
  z.strictObject({ kind: z.literal('claim') }).describe('Fetches rewards of staking.'),
  z.strictObject({ kind: z.literal('withdraw') }).describe('Fetches what the market owes: payments, bonds, refunds.'),
  z.strictObject({ kind: z.literal('register'), roles: z.array(z.enum(['compute', 'verify', 'arbitrate'])).min(1).max(3), bond: amount, identity: hash.describe('Hash of what describes the neuron.') }).describe('Registers a neuron, or adds to its bond.'),
  z.strictObject({ kind: z.literal('leave') }).describe('Asks to leave: the bond may be taken after seven days.'),
  z.strictObject({ kind: z.literal('exit') }).describe('Takes the bond.'),
  z.strictObject({ kind: z.literal('list'), price: amount, details: hash, active: z.boolean().default(true) }).describe('Offers a neuron for hire.'),
  z.strictObject({ kind: z.literal('delegate'), to: address }).describe('Who votes with the tokens; oneself, to vote at all.'),
  z.strictObject({ kind: z.literal('propose'), ...proposal.shape }),
  z.strictObject({ kind: z.literal('vote'), proposal: z.string().regex(/^[0-9]{1,78}$/), support: z.enum(['against', 'for', 'abstain']) }),
  z.strictObject({ kind: z.literal('queue'), ...proposal.shape }).describe('An accepted proposal begins to wait in the timelock.'),
  z.strictObject({ kind: z.literal('execute'), ...proposal.shape }),
]);
export type TokenAction = z.output<typeof tokenAction>;

export const tokenActionDraft = z.strictObject({
  signer: z.uuid().describe('Who does it.'),
  action: tokenAction,
  reference: z.string().min(1).max(150).optional().describe('Your own name for it: sent again with the same one it is done once.'),
});
export type TokenActionDraft = z.output<typeof tokenActionDraft>;

export const tokenActionView = z
  .object({
    transactions: z.array(z.uuid()).describe('In their order; `GET /v1/chain-transactions/{id}` says what becomes of each.'),
    proposal: z.string().nullable().describe('Id of the proposal, of actions about one.'),
  })
  .meta({ id: 'TokenAction' });

export const accountParams = z.object({ id: z.uuid(), address });

export const accountView = z
  .object({
    address: z.string(),
    balance: z.string().describe('10^-18 HAL9, as all amounts here.'),
    staked: z.array(z.object({ amount: z.string(), unlocksAt: z.iso.datetime() })),
    claimable: z.string().describe('Rewards of staking.'),
    owed: z.string().describe('By the market.'),
    votes: z.string(),
    neuron: z.object({ bond: z.string(), reputation: z.int(), openRounds: z.int(), roles: z.array(z.string()) }).nullable(),
  })
  .meta({ id: 'ChainAccount' });
