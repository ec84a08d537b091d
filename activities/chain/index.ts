import { setTimeout as delay } from 'node:timers/promises';
import { Egress } from '../../platform/connections/egress.ts';
import { ChainSender, type SenderDependencies } from '../../platform/chain/sender.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';

/** How long one activity follows the chain, ms: long, so that histories stay short. */
const ROUND_MS = 120_000;

export interface SenderRound {
  readonly confirmed: number;
  /** Whether everything of the signer is final. */
  readonly idle: boolean;
}

export interface ChainActivities {
  /** Sends what the signer has to send, for a while. */
  driveSigner(input: { readonly signerId: string }): Promise<SenderRound>;
}

export function createChainActivities(dependencies: SenderDependencies, roundMs = ROUND_MS): ChainActivities {
  return {
    async driveSigner({ signerId }) {
      const orgId = activityOrganisation();
      return beating((signal) => drive(new ChainSender(dependencies, orgId, signerId), Date.now() + roundMs, signal));
    },
  };
}

async function drive(sender: ChainSender, until: number, signal: AbortSignal): Promise<SenderRound> {
  let confirmed = 0;
  while (Date.now() < until) {
    const step = await sender.step(signal);
    confirmed += step.confirmed;
    if (step.nextInMs === null) return { confirmed, idle: true };
    await delay(step.nextInMs, undefined, { signal });
  }
  return { confirmed, idle: false };
}

/** Discovered: the senders of chains. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const places = { keys: await loadKeyRing(config), environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR };
  return { queues: { [TASK_QUEUES.chain]: { ...createChainActivities({ database, egress, places }) } }, shutdown: () => egress.close() };
}
