import type { Standing } from '../../platform/chain/consensus/rounds.ts';
import type { ChainNetworkInput, ChainNetworkResult } from '../../schemas/operations/chain-network.ts';
import type { ConsensusInput, ConsensusResult, ConsensusVoter } from '../../schemas/operations/consensus.ts';

/**
 * Served by `core`. The organisation and the id are those of the run. All are idempotent: each looks at the chain and sends what is missing there. Those that send wait for a block for a
 * while; `failed` counts transactions that came to nothing, mostly because the chain stands otherwise by now.
 */
export interface ConsensusActivities {
  /** Checks everything before anything is paid. */
  prepareConsensus(input: ConsensusInput): Promise<void>;
  /** @param forced whether a person asked for the tally to be challenged. */
  lookAtConsensus(input: ConsensusInput, forced: boolean): Promise<Standing>;
  openRequest(input: ConsensusInput): Promise<void>;
  commitVotes(input: ConsensusInput): Promise<{ readonly failed: number }>;
  revealVotes(input: ConsensusInput): Promise<{ readonly failed: number }>;
  reportVotes(input: ConsensusInput): Promise<{ readonly failed: number }>;
  tallyRound(input: ConsensusInput): Promise<{ readonly failed: number }>;
  challengeTally(input: ConsensusInput): Promise<{ readonly failed: number }>;
  settleRequest(input: ConsensusInput): Promise<{ readonly failed: number }>;
  concludeConsensus(input: ConsensusInput): Promise<ConsensusResult>;
}

/** Served by `neurons-external`. */
export interface VoteActivities {
  /** Asks one neuron, which sees the question and nothing else, and keeps what it finds, sealed. Asked again, nothing happens. */
  computeVote(input: ConsensusInput, round: number, voter: ConsensusVoter): Promise<void>;
}

/** Served by `core`. */
export interface NetworkActivities {
  /** Deploys what is not deployed yet. */
  deployNetwork(input: ChainNetworkInput): Promise<ChainNetworkResult>;
}
