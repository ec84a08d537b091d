import { ActivityFailure, isCancellation, proxyActivities, sleep } from '@temporalio/workflow';
import type { KubernetesActivities, Look, RolloutNeuronActivities } from '../../activities/kubernetes/activity-contract.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { RolloutInput, RolloutMetric, Verdict } from '../../schemas/operations/rollout.ts';
import type { People } from './people.ts';
import type { Standing, Unit } from './standing.ts';
import { Stop } from './stop.ts';

/** Looks that leave a trace of their own in the history of the run; a longer soak takes several in one step. */
const LOOKS_IN_HISTORY = 1000;
const MILLISECONDS = 1000;

export interface Analysis {
  readonly input: RolloutInput;
  readonly standing: Standing;
  readonly people: People;
}

/**
 * Watches a unit for a while. Ends when the time is over and every metric passed its last look.
 * @throws {Stop} as soon as one failed as often in a row as it may not.
 */
export async function soak(analysis: Analysis, unit: Unit, step: string, seconds: number): Promise<void> {
  const { input, standing, people } = analysis;
  const metrics = metricsAt(input, 'soak');
  const sinceMs = Date.now();
  const endMs = sinceMs + seconds * MILLISECONDS;
  if (metrics.length === 0 || unit.target.isReturn) {
    if (seconds > 0) await sleep(seconds * MILLISECONDS);
    return;
  }
  const intervalSeconds = input.analysis?.intervalSeconds ?? 60;
  const together = Math.ceil(seconds / intervalSeconds / LOOKS_IN_HISTORY) || 1;
  const failures = new Map<string, number>();
  let patience = input.analysis?.patience ?? 0;
  for (;;) {
    await sleep(intervalSeconds * MILLISECONDS);
    const looks = Math.max(1, Math.min(together, Math.floor((endMs - Date.now()) / (intervalSeconds * MILLISECONDS))));
    const verdicts = await lookAt({ target: unit.target, metrics, step, intervalSeconds, looks, sinceMs });
    standing.judged(verdicts);
    stopAtFailures(metrics, verdicts, failures);
    if (Date.now() < endMs) continue;
    const undecided = verdicts.filter(({ outcome }) => outcome !== 'pass');
    if (undecided.length === 0) return;
    if (patience > 0) patience -= 1;
    else if ((await people.decide(undecidedWords(step, undecided))) === 'promote') return;
  }
}

/**
 * Looks once at the metrics of an occasion; again while they decide nothing.
 * @throws {Stop} when one fails.
 */
export async function check(analysis: Analysis, unit: Unit, when: 'before' | 'after', step: string): Promise<void> {
  const { input, standing, people } = analysis;
  const metrics = metricsAt(input, when);
  if (metrics.length === 0 || unit.target.isReturn) return;
  const sinceMs = Date.now();
  const intervalSeconds = input.analysis?.intervalSeconds ?? 60;
  const failures = new Map<string, number>();
  let patience = input.analysis?.patience ?? 0;
  for (;;) {
    const verdicts = await lookAt({ target: unit.target, metrics, step, intervalSeconds, looks: 1, sinceMs });
    standing.judged(verdicts);
    stopAtFailures(metrics, verdicts, failures);
    const undecided = verdicts.filter(({ outcome }) => outcome !== 'pass');
    if (undecided.length === 0) return;
    if (patience > 0) patience -= 1;
    else if ((await people.decide(undecidedWords(step, undecided))) === 'promote') return;
    await sleep(intervalSeconds * MILLISECONDS);
  }
}

function metricsAt(input: RolloutInput, when: RolloutMetric['when']): RolloutMetric[] {
  return input.analysis?.metrics.filter((metric) => metric.when === when) ?? [];
}

function stopAtFailures(metrics: readonly RolloutMetric[], verdicts: readonly Verdict[], failures: Map<string, number>): void {
  for (const { metric, outcome, reason } of verdicts) {
    const inRow = outcome === 'fail' ? (failures.get(metric) ?? 0) + 1 : 0;
    failures.set(metric, inRow);
    const allowed = metrics.find(({ name }) => name === metric)?.failures ?? 1;
    if (inRow >= allowed) throw new Stop('analysis-failed', `${metric}: ${reason}`);
  }
}

function undecidedWords(step: string, undecided: readonly Verdict[]): string {
  return `${step}: ${undecided.map(({ metric, reason }) => `${metric}: ${reason}`).join('; ')}`;
}

/** Neurons judge last: they see what the others found. */
async function lookAt(look: Look): Promise<Verdict[]> {
  const asked = look.metrics.filter(({ source }) => source.kind === 'neuron');
  const metrics = look.metrics.filter(({ source }) => source.kind !== 'neuron');
  if (metrics.length === 0 && look.looks > 1) await sleep((look.looks - 1) * look.intervalSeconds * MILLISECONDS);
  const measured = metrics.length === 0 ? [] : await lookFor(look)({ ...look, metrics });
  return asked.length === 0 ? measured : [...measured, ...(await askNeurons(look, asked, measured))];
}

/** A look may hold a Job of an hour. */
function lookFor({ looks, intervalSeconds }: Look): KubernetesActivities['look'] {
  return proxyActivities<KubernetesActivities>({
    startToCloseTimeout: `${Math.ceil(looks * intervalSeconds) + 4200} seconds`,
    heartbeatTimeout: '15 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '5 seconds' },
  }).look;
}

/** Longer than any neuron may take to answer. Who does not take the question up or fails again and again decides nothing. */
const { lookByNeurons } = proxyActivities<RolloutNeuronActivities>({
  taskQueue: TASK_QUEUES.neuronsExternal,
  scheduleToStartTimeout: '2 minutes',
  startToCloseTimeout: '15 minutes',
  heartbeatTimeout: '15 seconds',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '5 seconds', maximumAttempts: 10 },
});

async function askNeurons(look: Look, metrics: RolloutMetric[], measured: Verdict[]): Promise<Verdict[]> {
  const { target, step, intervalSeconds, sinceMs } = look;
  try {
    return await lookByNeurons({ target, metrics, step, intervalSeconds, sinceMs, measured });
  } catch (error) {
    if (isCancellation(error)) throw error;
    const cause = error instanceof ActivityFailure ? error.cause : error;
    const reason = `no neuron could be asked: ${cause instanceof Error ? cause.message : String(cause)}`;
    return metrics.map(({ name }) => ({ at: new Date().toISOString(), service: target.service, cluster: target.cluster, step, metric: name, outcome: 'inconclusive', reason, queries: {}, samples: {}, statistic: {}, threshold: {} }));
  }
}

/** Of a dry run: what the new version would be judged by. */
export function planOfAnalysis({ analysis }: RolloutInput): string[] {
  return (analysis?.metrics ?? []).map(({ name, source, when }) => `judged by ${name} (${source.kind === 'neuron' ? `neuron ${source.neuron}` : source.kind}), ${PLANNED[when]}`);
}

const PLANNED = { soak: 'while it is watched', before: 'before all traffic goes over', after: 'when it is out' } as const;
