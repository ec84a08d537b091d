import { z } from 'zod';
import { TRANSACTION_WAKE_SIGNAL } from '../names/messages.ts';
import { defineOperation } from './operation.ts';

export const transactionInputSchema = z.object({
  signerId: z.uuid(),
  /** Carried from one history to the next. */
  confirmed: z.int().min(0).optional(),
});
export type TransactionInput = z.infer<typeof transactionInputSchema>;

export const transactionResultSchema = z.object({ confirmed: z.int() });
export type TransactionResult = z.infer<typeof transactionResultSchema>;

/** Sends what one signer is to send, until all of it is final. */
export default defineOperation({
  name: 'transaction',
  summary: 'Sends the transactions of one signer',
  description: 'One run a signer gives out nonces, signs, sends, raises fees, follows reorganisations and ends when everything is final. Transactions are rows (`POST /v1/chain-transactions`). Started by HAL9.',
  input: transactionInputSchema,
  result: transactionResultSchema,
  signals: { [TRANSACTION_WAKE_SIGNAL]: { description: 'There is something new.', payload: z.object({}) } },
  id: ({ signerId }) => signerId,
  reusePolicy: 'allow-duplicate',
  conflictPolicy: 'use-existing',
  timeouts: { execution: '365 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
