import type { Logger } from 'pino';
import { CHAIN_CHANNEL, ChainTransactionStore } from '../../database/chain-transactions.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { TRANSACTION_WAKE_SIGNAL } from '../../schemas/names/messages.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const POLL_MS = 1_000;
const RECOVER_MS = 60_000;

export interface ChainDrainOptions {
  readonly transactions: ChainTransactionStore;
  readonly operations: Pick<OperationsPort, 'start' | 'signal'>;
  readonly logger: Logger;
}

/** Tells the run of each signer that something is to be sent, once however many transactions there are. */
export function createChainDrain({ database, operations, logger }: BackgroundProcess): Drain {
  return createChainAnnouncer({ transactions: new ChainTransactionStore(database), operations, logger });
}

export function createChainAnnouncer({ transactions, operations, logger }: ChainDrainOptions): Drain {
  const tell = async (orgId: string, signerId: string): Promise<void> => {
    const caller = systemCaller(orgId, 'dispatcher');
    try {
      const { runId, created } = await operations.start(caller, { operation: 'transaction', input: { signerId }, origin: 'dispatcher' });
      if (!created) await operations.signal(caller, runId, TRANSACTION_WAKE_SIGNAL, {});
    } catch (error) {
      await transactions.unannounceAcrossOrganisations(orgId, signerId);
      // It ended between the two calls: the next round starts it anew.
      if (error instanceof HalError && error.type === 'RunClosed') return;
      logger.warn({ signer: signerId, reason: error instanceof Error ? error.message : String(error) }, 'run of the signer not told, will be tried again');
    }
  };
  return {
    name: 'chain',
    channels: [CHAIN_CHANNEL],
    pollMs: POLL_MS,
    coalesceMs: () => 100,
    async run() {
      const signers = await transactions.announceAcrossOrganisations();
      await Promise.all(signers.map(({ orgId, signerId }) => tell(orgId, signerId)));
      return false;
    },
  };
}

/** Starts runs of signers again that somebody terminated, or that Temporal lost. */
export function createChainRecovery({ database, operations, logger }: BackgroundProcess): Drain {
  const transactions = new ChainTransactionStore(database);
  return {
    name: 'chain-recovery',
    pollMs: RECOVER_MS,
    async run() {
      for (const { orgId, signerId } of await transactions.openSignersAcrossOrganisations()) {
        await operations.start(systemCaller(orgId, 'dispatcher'), { operation: 'transaction', input: { signerId }, origin: 'dispatcher' }).catch((error: unknown) => {
          logger.warn({ signer: signerId, reason: error instanceof Error ? error.message : String(error) }, 'run of the signer not started, will be tried again');
        });
      }
      return false;
    },
  };
}
