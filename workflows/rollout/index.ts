import { allHandlersFinished, CancellationScope, condition, defineQuery, isCancellation, proxyActivities, setHandler, sleep } from '@temporalio/workflow';
import type { KubernetesActivities } from '../../activities/kubernetes/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { ROLLOUT_CAUSES, ROLLOUT_QUERY } from '../../schemas/names/rollouts.ts';
import type { RolloutInput, RolloutResult, RolloutStanding } from '../../schemas/operations/rollout.ts';
import { planOfAnalysis, type Analysis } from './analysis.ts';
import { People } from './people.ts';
import { inOrder, planOf, Standing, type Unit } from './standing.ts';
import { problemOf } from './stop.ts';
import { bringOut, conclude, rollBack, thaw } from './unit.ts';

/** A first look at a cluster: what is not there now is a mistake rather than an outage. */
const { inspect, requireNeurons } = proxyActivities<KubernetesActivities>({ startToCloseTimeout: '1 minute', retry: { initialInterval: '500 milliseconds', maximumInterval: '5 seconds', maximumAttempts: 6 } });

/** Everything is read and checked; then the services go out, wave by wave; the first reason to stop takes all of them back in reverse. */
export async function rollout(input: RolloutInput): Promise<RolloutResult> {
  const standing = new Standing();
  const people = new People(standing, CancellationScope.current(), input.notify);
  const analysis: Analysis = { input, standing, people };
  setHandler(defineQuery<RolloutStanding>(ROLLOUT_QUERY), () => standing.view);
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progressOf(standing));

  const begun: Unit[] = [];
  let result: RolloutResult;
  try {
    await readAll(input, standing);
    if (input.dryRun) return ended(standing, 'planned', 'nothing was changed', null, [...standing.units.flatMap(planOf), ...planOfAnalysis(input)]);
    for (const wave of input.waves) {
      await thaw(analysis);
      await people.approve(wave.approval, `wave ${wave.name}`);
      for (const unit of standing.units.filter(({ view }) => view.wave === wave.name)) {
        begun.push(unit);
        await bringOut(analysis, unit);
      }
      if (wave.soakSeconds > 0) await sleep(wave.soakSeconds * 1000);
    }
    await CancellationScope.nonCancellable(() => Promise.all(begun.map(conclude)));
    result = ended(standing, 'promoted', `${begun.length} of ${standing.units.length} out`, null);
  } catch (error) {
    const problem = problemOf(error, people.aborted);
    const at = begun.at(-1)?.view ?? standing.units.at(-1)?.view;
    await CancellationScope.nonCancellable(async () => {
      for (const unit of begun.toReversed()) await rollBack(analysis, unit);
    });
    if (isCancellation(error) && people.aborted === undefined) throw error;
    const cause = { code: problem.code, service: at?.service ?? input.services[0]?.name ?? '', cluster: at?.cluster ?? input.waves[0]?.clusters[0] ?? '', remedy: ROLLOUT_CAUSES[problem.code] };
    result = ended(standing, begun.length === 0 ? 'refused' : 'rolled-back', problem.message, cause);
  }
  await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  return result;
}

async function readAll(input: RolloutInput, standing: Standing): Promise<void> {
  const neurons = input.analysis?.metrics.flatMap(({ source }) => (source.kind === 'neuron' ? [source.neuron] : [])) ?? [];
  // Runs of before there were such metrics have none.
  if (neurons.length > 0) await requireNeurons([...new Set(neurons)]);
  for (const wave of input.waves) {
    for (const cluster of wave.clusters) {
      for (const service of inOrder(input.services)) {
        standing.step = `reading ${service.name} in ${cluster}`;
        standing.add(await inspect(cluster, service, service.strategy ?? input.strategy, input.rollbackWindowSeconds, wave.name), wave.name);
      }
    }
  }
}

function ended(standing: Standing, outcome: RolloutResult['outcome'], reason: string, cause: RolloutResult['cause'], plan: string[] = []): RolloutResult {
  const { units, verdicts } = standing.view;
  return { outcome, reason, cause, units, verdicts, plan };
}

function progressOf(standing: Standing): Progress {
  const { units, step, waitingFor } = standing.view;
  return { step: waitingFor === null ? 'rolling out' : 'waiting', done: units.filter(({ state }) => state === 'new').length, total: units.length, message: waitingFor ?? step };
}
