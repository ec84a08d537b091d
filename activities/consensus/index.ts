import { ApplicationFailure } from '@temporalio/activity';
import { NeuronStore } from '../../database/neurons.ts';
import { ConsensusRounds, type RoundsDependencies } from '../../platform/chain/consensus/rounds.ts';
import { Deployment } from '../../platform/chain/deployment.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { chainNetworkInputSchema } from '../../schemas/operations/chain-network.ts';
import { consensusInputSchema, type ConsensusInput } from '../../schemas/operations/consensus.ts';
import { activityRun } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { createCallDependencies } from '../external/call-dependencies.ts';
import type { ConsensusActivities, NetworkActivities, VoteActivities } from './activity-contract.ts';
import { computeResult, type ComputeDependencies } from './compute.ts';

/** How long a step waits for its transactions, ms. */
const WAIT_MS = 60_000;

export function createConsensusActivities(dependencies: RoundsDependencies, waitMs = WAIT_MS): ConsensusActivities {
  /** Failures that somebody can mend while the payment is in escrow: the round waits for them, it does not end. */
  const sending = async (input: ConsensusInput, send: (rounds: ConsensusRounds, untilMs: number, signal: AbortSignal) => Promise<number>): Promise<{ failed: number }> =>
    beating(async (signal) => {
      try {
        return { failed: await send(roundsOf(dependencies, input), Date.now() + waitMs, signal) };
      } catch (error) {
        throw waiting(error);
      }
    });
  return {
    prepareConsensus: (input) => beating((signal) => roundsOf(dependencies, input).prepare(signal)),
    lookAtConsensus: (input, forced) =>
      beating(async (signal) => {
        try {
          return await roundsOf(dependencies, input).look(forced, signal);
        } catch (error) {
          throw waiting(error);
        }
      }),
    openRequest: (input) => beating((signal) => roundsOf(dependencies, input).open(Date.now() + waitMs, signal)),
    commitVotes: (input) => sending(input, (rounds, until, signal) => rounds.commit(until, signal)),
    revealVotes: (input) => sending(input, (rounds, until, signal) => rounds.reveal(until, signal)),
    reportVotes: (input) => sending(input, (rounds, until, signal) => rounds.report(until, signal)),
    tallyRound: (input) => sending(input, (rounds, until, signal) => rounds.tally(until, signal)),
    challengeTally: (input) => sending(input, (rounds, until, signal) => rounds.challenge(until, signal)),
    settleRequest: (input) => sending(input, (rounds, until, signal) => rounds.settle(until, signal)),
    concludeConsensus: (input) => roundsOf(dependencies, input).ending(),
  };
}

export function createVoteActivities(dependencies: RoundsDependencies, compute: ComputeDependencies): VoteActivities {
  return {
    computeVote: (input, round, voter) =>
      beating(async (signal) => {
        const { orgId, uuid } = activityRun();
        const rounds = roundsOf(dependencies, input);
        if (await rounds.isKept(round, voter.signer)) return;
        const found = await computeResult(compute, { orgId, consensusId: uuid, round, signerId: voter.signer, neuronId: voter.neuron, question: consensusInputSchema.parse(input).question }, signal);
        await rounds.keep(round, voter.signer, found);
      }),
  };
}

export function createNetworkActivities(dependencies: RoundsDependencies): NetworkActivities {
  return {
    deployNetwork: (input) =>
      beating((signal) => {
        const { orgId, uuid } = activityRun();
        return new Deployment(dependencies, systemCaller(orgId, 'chain-network'), uuid, signal).run(chainNetworkInputSchema.parse(input));
      }),
  };
}

/** Discovered: rounds of consensus, and the networks they are on. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const keys = await loadKeyRing(config);
  const dependencies: RoundsDependencies = { database, egress, places: { keys, environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR } };
  const calls = createCallDependencies({ config, database }, keys, egress);
  return {
    queues: {
      [TASK_QUEUES.core]: { ...createConsensusActivities(dependencies), ...createNetworkActivities(dependencies) },
      [TASK_QUEUES.neuronsExternal]: { ...createVoteActivities(dependencies, { neurons: new NeuronStore(database), calls }) },
    },
    shutdown: () => egress.close(),
  };
}

function roundsOf(dependencies: RoundsDependencies, input: ConsensusInput): ConsensusRounds {
  const { orgId, uuid } = activityRun();
  return new ConsensusRounds(dependencies, systemCaller(orgId, 'consensus'), uuid, consensusInputSchema.parse(input));
}

function waiting(error: unknown): unknown {
  return error instanceof HalError ? ApplicationFailure.create({ type: error.type, message: error.message, nonRetryable: false, cause: error }) : error;
}
