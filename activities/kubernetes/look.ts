import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Connections } from '../../platform/connections/connections.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure, explainStatus } from '../../platform/connections/failure.ts';
import type { KubernetesApi } from '../../platform/connections/kubernetes.ts';
import { HalError } from '../../schemas/errors.ts';
import type { RolloutMetric, Verdict } from '../../schemas/operations/rollout.ts';
import type { Look, Target } from './activity-contract.ts';
import { inconclusive, judgeMeasurement, type Finding, type Role } from './judgement.ts';
import type { Job } from './objects.ts';
import { nextName, podPatterns } from './workload.ts';

type Source<Kind> = Extract<RolloutMetric['source'], { kind: Kind }>;

/** Time for one answer, milliseconds. */
const ANSWER_MS = 10_000;
const ANSWER_LIMIT = 4 * 1024 * 1024;
/** Samples kept in a verdict. */
const KEPT_SAMPLES = 60;
/** Most samples asked for; the API of Prometheus allows 11,000. */
const MAX_SAMPLES = 5000;

export interface LookDependencies {
  readonly orgId: string;
  readonly egress: Egress;
  readonly connections: Pick<Connections, 'open'>;
  /** Does something with the cluster of the target. */
  readonly cluster: <Result>(work: (api: KubernetesApi) => Promise<Result>) => Promise<Result>;
  readonly signal: AbortSignal;
  /** The same in every attempt of this look. */
  readonly key: string;
}

type Looked = Finding & Pick<Verdict, 'queries' | 'samples'>;

/** Looks at one metric. @throws only when the signal aborts. */
export async function lookAt(deps: LookDependencies, look: Look, metric: RolloutMetric): Promise<Verdict> {
  const { target, step } = look;
  const found = await findingOf(deps, look, metric);
  return { at: new Date().toISOString(), service: target.service, cluster: target.cluster, step, metric: metric.name, ...found };
}

async function findingOf(deps: LookDependencies, look: Look, metric: RolloutMetric): Promise<Looked> {
  try {
    switch (metric.source.kind) {
      case 'prometheus':
        return await askPrometheus(deps, look, metric, metric.source);
      case 'http':
        return await askService(deps, metric, metric.source);
      case 'job':
        return await runJob(deps, look.target, metric, metric.source);
      case 'neuron':
        // Asked where calls of neurons have their slots, limits and settings.
        return { ...inconclusive('neurons are asked by `lookByNeurons`'), queries: {}, samples: {} };
    }
  } catch (error) {
    deps.signal.throwIfAborted();
    const reason = error instanceof HalError ? error.message : error instanceof PrometheusRefusal ? error.message : explainFailure(error).message;
    return { ...inconclusive(`${metric.source.kind} could not be asked: ${reason}`), queries: {}, samples: {} };
  }
}

/** Prometheus understood, and will not answer. */
class PrometheusRefusal extends Error {
  override readonly name = 'PrometheusRefusal';
}

const matrixSchema = z.object({
  status: z.literal('success'),
  data: z.object({ resultType: z.literal('matrix'), result: z.array(z.object({ values: z.array(z.tuple([z.number(), z.string()])) })) }),
});
const errorSchema = z.object({ error: z.string() });

/** Range queries (HTTP API v1) of the time since the step began. */
async function askPrometheus(deps: LookDependencies, look: Look, metric: RolloutMetric, source: Source<'prometheus'>): Promise<Looked> {
  const { judge } = metric;
  if (judge === undefined) return { ...inconclusive('the metric has no judge'), queries: {}, samples: {} };
  const { settings } = await deps.connections.open(deps.orgId, source.connection, ['http']);
  const wanted: [Role, string | undefined][] = [['new', source.query], ['old', source.baseline], ['newExposure', source.exposure], ['oldExposure', source.baselineExposure]];
  const queries = Object.fromEntries(wanted.flatMap(([role, query]) => (query === undefined ? [] : [[role, filled(query, look.target)]]))) as Partial<Record<Role, string>>;
  const end = Date.now() / 1000;
  const span = Math.max(0, end - look.sinceMs / 1000);
  const step = Math.max(source.stepSeconds ?? look.intervalSeconds, span / MAX_SAMPLES);
  // Samples lie on whole steps, the newest now: what is asked twice is answered alike.
  const start = end - Math.floor(span / step) * step;
  const series: Partial<Record<Role, number[]>> = {};
  for (const [role, query] of Object.entries(queries) as [Role, string][]) {
    const body = new URLSearchParams({ query, start: start.toFixed(3), end: end.toFixed(3), step: step.toFixed(3) }).toString();
    const answer = await deps.egress.request(`${settings.baseUrl.replace(/\/+$/, '')}/api/v1/query_range`, {
      method: 'POST',
      headers: { ...settings.headers, 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body,
      signal: AbortSignal.any([deps.signal, AbortSignal.timeout(ANSWER_MS)]),
      limitBytes: ANSWER_LIMIT,
    });
    series[role] = valuesOf(answer, end, step);
  }
  const samples = Object.fromEntries(Object.entries(series).map(([role, values]) => [role, values.slice(-KEPT_SAMPLES).map((value) => (Number.isFinite(value) ? value : null))]));
  return { ...judgeMeasurement(judge, series), queries, samples };
}

/** @throws {PrometheusRefusal} when it answers no single, current series. */
function valuesOf(answer: { status: number; headers: Headers; text: string }, end: number, step: number): number[] {
  const parsed: unknown = /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(answer.text) : undefined;
  if (answer.status !== 200) {
    const told = errorSchema.safeParse(parsed);
    throw new PrometheusRefusal(told.success ? told.data.error.slice(0, 500) : explainStatus(answer.status, answer.headers).message);
  }
  const read = matrixSchema.safeParse(parsed);
  if (!read.success) throw new PrometheusRefusal('the answer is no matrix of samples');
  const { result } = read.data.data;
  if (result.length > 1) throw new PrometheusRefusal(`the query answers ${result.length} series; aggregate them into one`);
  const values = result[0]?.values ?? [];
  const newest = values.at(-1)?.[0];
  if (newest !== undefined && end - newest > 2 * step + 1) throw new PrometheusRefusal(`the newest sample is ${Math.round(end - newest)} s old`);
  return values.map(([, text]) => Number(text));
}

function filled(query: string, target: Target): string {
  const { oldPods, newPods } = podPatterns(target);
  return query.replaceAll('{{namespace}}', target.namespace).replaceAll('{{oldPods}}', oldPods).replaceAll('{{newPods}}', newPods);
}

/** A check that is not answered at all decides nothing: it may be the way there. */
async function askService(deps: LookDependencies, metric: RolloutMetric, source: Source<'http'>): Promise<Looked> {
  const settings = source.connection === undefined ? undefined : (await deps.connections.open(deps.orgId, source.connection, ['http'])).settings;
  if (settings !== undefined && new URL(settings.baseUrl).origin !== new URL(source.url).origin) return { ...inconclusive('the connection belongs to another origin than the URL'), queries: {}, samples: {} };
  const answer = await deps.egress.request(source.url, { method: 'GET', headers: { accept: 'application/json, */*;q=0.5', ...settings?.headers }, signal: AbortSignal.any([deps.signal, AbortSignal.timeout(ANSWER_MS)]) });
  const queries = { new: `GET ${source.url}` };
  if (!source.statuses.includes(answer.status)) return { outcome: 'fail', reason: `HTTP ${answer.status}`, statistic: { status: answer.status }, threshold: { statuses: source.statuses.join(', ') }, queries, samples: {} };
  if (source.value === undefined || metric.judge === undefined) return { outcome: 'pass', reason: `HTTP ${answer.status}`, statistic: { status: answer.status }, threshold: { statuses: source.statuses.join(', ') }, queries, samples: {} };
  const value = pointedAt(answer.text, source.value);
  return { ...judgeMeasurement(metric.judge, { new: value === undefined ? [] : [value] }), queries, samples: { new: value === undefined ? [] : [value] } };
}

/** The number a JSON pointer (RFC 6901) points at. */
function pointedAt(text: string, pointer: string): number | undefined {
  let current: unknown;
  try {
    current = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    current = typeof current === 'object' && current !== null ? new Map(Object.entries(current)).get(key) : undefined;
  }
  return typeof current === 'number' ? current : undefined;
}

/** Runs a Job to its end and deletes it. */
async function runJob(deps: LookDependencies, target: Target, metric: RolloutMetric, source: Source<'job'>): Promise<Looked> {
  const name = `${nextName(target.name)}-${createHash('sha256').update(`${deps.key} ${metric.name}`).digest('hex').slice(0, 8)}`;
  const path = `/apis/batch/v1/namespaces/${target.namespace}/jobs`;
  const queries = { new: `Job ${target.namespace}/${name}` };
  return deps.cluster(async (api) => {
    const body = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace: target.namespace, ownerReferences: [{ apiVersion: 'apps/v1', kind: target.kind, name: target.name, uid: target.uid }] }, spec: { backoffLimit: 0, activeDeadlineSeconds: Math.ceil(source.timeoutSeconds), template: jobTemplate(source.template) } };
    if ((await api.find(`${path}/${name}`, deps.signal)) === undefined) await api.create(path, body, deps.signal);
    const deadline = Date.now() + source.timeoutSeconds * 1000;
    for (;;) {
      const job = await api.get<Job>(`${path}/${name}`, deps.signal);
      const ended = job.status?.conditions?.find(({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True');
      if (ended !== undefined || Date.now() > deadline) {
        await api.remove(`${path}/${name}`, deps.signal);
        const facts = { statistic: { succeeded: job.status?.succeeded ?? 0, failed: job.status?.failed ?? 0 }, threshold: { timeoutSeconds: source.timeoutSeconds }, queries, samples: {} };
        if (ended?.type === 'Complete') return { outcome: 'pass', reason: 'the Job completed', ...facts };
        if (ended?.reason === 'DeadlineExceeded' || ended === undefined) return { ...facts, outcome: 'inconclusive', reason: `the Job did not end within ${source.timeoutSeconds} s` };
        return { outcome: 'fail', reason: `the Job failed: ${ended.reason ?? 'no reason given'}`, ...facts };
      }
      await sleep(250, undefined, { signal: deps.signal });
    }
  });
}

function jobTemplate(template: Readonly<Record<string, unknown>>): unknown {
  const spec = template['spec'];
  return { ...template, spec: { restartPolicy: 'Never', ...(typeof spec === 'object' && spec !== null ? spec : {}) } };
}
