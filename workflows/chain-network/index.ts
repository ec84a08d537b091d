import { proxyActivities } from '@temporalio/workflow';
import type { NetworkActivities } from '../../activities/consensus/activity-contract.ts';
import type { ChainNetworkInput, ChainNetworkResult } from '../../schemas/operations/chain-network.ts';

const { deployNetwork } = proxyActivities<NetworkActivities>({ startToCloseTimeout: '30 days', heartbeatTimeout: '20 seconds', retry: { maximumInterval: '30 seconds' } });

/** One transaction after the other; those that are there are not sent again. */
export async function chainNetwork(input: ChainNetworkInput): Promise<ChainNetworkResult> {
  return deployNetwork(input);
}
