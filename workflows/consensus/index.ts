import { ApplicationFailure, CancellationScope, allHandlersFinished, condition, continueAsNew, defineQuery, defineSignal, isCancellation, log, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import type { ConsensusActivities, VoteActivities } from '../../activities/consensus/activity-contract.ts';
import type { Standing } from '../../platform/chain/consensus/rounds.ts';
import { CONSENSUS_CHALLENGE_SIGNAL, CONSENSUS_WAKE_SIGNAL, RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ConsensusInput, ConsensusResult } from '../../schemas/operations/consensus.ts';

/** After a step that came to nothing, ms. */
const PAUSE_MS = 2_000;

const { prepareConsensus, lookAtConsensus, openRequest, commitVotes, revealVotes, reportVotes, tallyRound, challengeTally, settleRequest, concludeConsensus } = proxyActivities<ConsensusActivities>({
  startToCloseTimeout: '5 minutes',
  heartbeatTimeout: '20 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
});
const { computeVote } = proxyActivities<VoteActivities>({ taskQueue: TASK_QUEUES.neuronsExternal, startToCloseTimeout: '15 minutes', heartbeatTimeout: '20 seconds', retry: { maximumInterval: '30 seconds' } });

/** What the chain says decides what is done next, so that a reorganisation only repeats what it took away. */
export async function consensus(input: ConsensusInput): Promise<ConsensusResult> {
  const wake = { looked: false, forced: false };
  let seen: Standing | undefined;
  setHandler(defineSignal(CONSENSUS_WAKE_SIGNAL), () => {
    wake.looked = false;
  });
  setHandler(defineSignal(CONSENSUS_CHALLENGE_SIGNAL), () => {
    wake.forced = true;
    wake.looked = false;
  });
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progressOf(seen));
  const neurons = new Neurons(input, () => {
    wake.looked = false;
  });
  try {
    await prepareConsensus(input);
    for (;;) {
      wake.looked = true;
      const standing = await lookAtConsensus(input, wake.forced);
      seen = standing;
      if (standing.final) break;
      neurons.ask(standing);
      const failed = standing.act ? await take(standing, input) : 0;
      if (standing.act && standing.phase === 'challengeable' && failed === 0) wake.forced = false;
      if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof consensus>(input);
      await condition(() => !wake.looked, failed > 0 ? PAUSE_MS : standing.waitMs);
    }
  } finally {
    neurons.stop();
  }
  const ended = await concludeConsensus(input);
  await condition(allHandlersFinished);
  return ended;
}

/** Does what the phase asks for. @returns transactions that came to nothing. */
async function take({ phase }: Standing, input: ConsensusInput): Promise<number> {
  switch (phase) {
    case 'unopened':
    case 'opening':
      await openRequest(input);
      return 0;
    case 'committing':
      return (await commitVotes(input)).failed;
    case 'revealing':
      return (await revealVotes(input)).failed;
    case 'reporting':
      return (await reportVotes(input)).failed;
    case 'tallying':
      return (await tallyRound(input)).failed;
    case 'challengeable':
      return (await challengeTally(input)).failed;
    case 'settling':
      return (await settleRequest(input)).failed;
    case 'settled':
    case 'refunded':
      throw ApplicationFailure.nonRetryable(`nothing is to be done when it is ${phase}`, 'Internal');
  }
}

/** Neurons compute each for itself: a slow one holds no other up, and its vote comes too late. */
class Neurons {
  readonly #input: ConsensusInput;
  readonly #found: () => void;
  readonly #asked = new Set<string>();
  readonly #scope = new CancellationScope();

  /** @param found called when one has an answer. */
  constructor(input: ConsensusInput, found: () => void) {
    this.#input = input;
    this.#found = found;
  }

  ask({ compute }: Standing): void {
    for (const { round, voter } of compute) {
      const key = `${String(round)} ${voter.signer}`;
      if (this.#asked.has(key)) continue;
      this.#asked.add(key);
      void this.#scope.run(() => computeVote(this.#input, round, voter)).then(this.#found, (error: unknown) => {
        if (!isCancellation(error)) log.warn('a neuron of the round could not be asked', { round });
      });
    }
  }

  stop(): void {
    this.#scope.cancel();
  }
}

function progressOf(standing: Standing | undefined): Progress {
  if (standing === undefined) return { step: 'preparing', done: 0, total: null, message: 'nothing is paid yet' };
  return { step: standing.phase, done: standing.round, total: null, message: standing.requestId === null ? 'not open yet' : `request ${standing.requestId}, round ${String(standing.round)}` };
}
