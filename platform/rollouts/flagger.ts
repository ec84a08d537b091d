import { NEXT_SUFFIX } from '../../schemas/names/rollouts.ts';
import { draftOf, fieldOf, templateImages, type CanaryStepDraft, type ImportedMetric, type ImportNames, type MetricDraft, type Occasion, type RolloutDraft, type SpecDocument, type SpecDocuments, type StrategyDraft, type TrafficDraft } from './imported-draft.ts';
import { secondsOf, SpecReader, type ImportNote } from './spec-reader.ts';

const GATE = { required: 1, deadlineSeconds: 30 * 86_400 };
const MOST_STEPS = 50;
const MOST_FAILURES = 20;
const INTERVAL_SECONDS = 60;
/** Gates of Flagger are webhooks; of each the step that HAL9 asks people before. */
const GATES = { 'confirm-rollout': 'the first step', 'confirm-traffic-increase': 'each step', 'confirm-promotion': 'the promotion' } as const;
type Gate = keyof typeof GATES;

/** A `Canary` of flagger.app/v1beta1; https://docs.flagger.app/usage/how-it-works. */
export function importFlagger(document: SpecDocument, documents: SpecDocuments, names: ImportNames, notes: ImportNote[]): RolloutDraft {
  const { name, namespace } = document;
  const spec = new SpecReader(`Canary ${namespace}/${name}`, document.content['spec'], notes, '/spec');
  const target = spec.child('targetRef');
  target?.raw('apiVersion');
  const [kind, workload] = [target?.text('kind') ?? 'Deployment', target?.text('name') ?? name];
  if (kind !== 'Deployment') target?.note('lost', `HAL9 works on Deployments here, not on a ${kind}`, 'kind');
  const found = documents.find([kind], namespace, workload);
  if (found === undefined) target?.note('todo', `Say the new images: the ${kind} ${workload} is not among the documents`, 'name');
  if (spec.has('autoscalerRef')) {
    spec.raw('autoscalerRef');
    spec.note('changed', 'the autoscaler stays with the Deployment; the new version gets none while it runs beside', 'autoscalerRef');
  }
  const service = fieldOf(spec.raw('service'), 'name');
  const front = typeof service === 'string' ? service : workload;
  spec.note('todo', `Flagger made the Services ${front}, ${front}-primary and ${front}-canary, and the routes: set revertOnDeletion, delete the Canary, and have the route send everything to ${front}`, 'service');
  spec.raw('revertOnDeletion');
  const provider = spec.text('provider');
  const ingress = spec.child('ingressRef');
  ingress?.raw('apiVersion');
  ingress?.raw('kind');
  const traffic = trafficOf(spec, provider, front, ingress?.text('name'));
  const analysis = spec.child('analysis') ?? spec.child('canaryAnalysis');
  const server = spec.text('metricsServer');
  if (server !== undefined) spec.note('todo', `make a connection ${names.prometheus} of kind http with the base URL ${server}`, 'metricsServer');
  const progressDeadlineSeconds = spec.number('progressDeadlineSeconds');
  const isSkipped = spec.flag('skipAnalysis') === true;
  if (isSkipped) spec.note('changed', 'skipAnalysis: rolled without steps and metrics', 'skipAnalysis');
  const parts = { name, namespace, workload, images: templateImages(fieldOf(fieldOf(found?.content, 'spec'), 'template')), service: front, progressDeadlineSeconds };
  const read = analysis === undefined || isSkipped ? { strategy: { kind: 'rolling' } as const, metrics: [] } : analysisOf(analysis, { namespace, workload, front, ingress: ingress?.text('name'), provider, traffic, documents, names, notes });
  if (isSkipped) analysis?.drop();
  spec.end();
  return draftOf({ ...parts, ...read }, names);
}

function trafficOf(spec: SpecReader, provider: string | undefined, front: string, ingress: string | undefined): TrafficDraft | undefined {
  if (provider === 'istio') return { kind: 'istio', virtualService: front };
  if (provider === 'nginx' && ingress !== undefined) return { kind: 'nginx', ingress };
  if (provider?.startsWith('gatewayapi') === true) return { kind: 'gateway', route: front };
  if (provider !== 'kubernetes') spec.note('changed', `${provider ?? 'the provider of the installation'}: HAL9 splits by istio, nginx and the Gateway API; here replicas split, both versions stand behind the Service in the ratio of the weight`, 'provider');
  return undefined;
}

interface Context {
  readonly namespace: string;
  readonly workload: string;
  readonly front: string;
  readonly ingress: string | undefined;
  readonly provider: string | undefined;
  readonly traffic: TrafficDraft | undefined;
  readonly documents: SpecDocuments;
  readonly names: ImportNames;
  readonly notes: ImportNote[];
}

function analysisOf(analysis: SpecReader, context: Context): { strategy: StrategyDraft; metrics: ImportedMetric[] } {
  const intervalSeconds = analysis.seconds('interval') ?? INTERVAL_SECONDS;
  const gates = gatesOf(analysis);
  const weights = weightsOf(analysis);
  const iterations = analysis.number('iterations');
  if (analysis.has('alerts')) {
    analysis.raw('alerts');
    analysis.note('lost', 'alerts: name a connection as `notify`, or have an outgoing webhook tell of runs', 'alerts');
  }
  if (weights.length > 0) {
    const steps = stepsOf(weights, intervalSeconds, gates);
    return { strategy: { kind: 'canary', steps, ...(context.traffic === undefined ? {} : { traffic: context.traffic }) }, metrics: metricsOf(analysis, 'soak', intervalSeconds, context) };
  }
  if (analysis.has('match')) {
    analysis.raw('match');
    analysis.note('lost', 'HAL9 splits by weight, not by headers or cookies: nobody meets the new version before the switch', 'match');
  }
  if (iterations !== undefined) analysis.note('changed', `metrics are looked at once before the switch, not ${String(iterations)} times; without traffic they decide nothing, and people are asked`, 'iterations');
  return { strategy: { kind: 'blue-green', ...(gates.size > 0 ? { approval: GATE } : {}) }, metrics: metricsOf(analysis, 'before', intervalSeconds, context) };
}

function weightsOf(analysis: SpecReader): number[] {
  const most = analysis.number('maxWeight') ?? 100;
  const step = analysis.number('stepWeight');
  const listed = analysis.raw('stepWeights');
  if (Array.isArray(listed)) return listed.filter((weight): weight is number => typeof weight === 'number' && weight >= 1 && weight <= 100);
  if (step === undefined || step < 1) return [];
  const used = Math.max(step, Math.ceil(most / MOST_STEPS));
  if (used !== step) analysis.note('changed', `a rollout has at most ${String(MOST_STEPS)} steps: they are ${String(used)} % each`, 'stepWeight');
  return Array.from({ length: Math.floor(most / used) }, (_, index) => used * (index + 1));
}

function stepsOf(weights: readonly number[], soakSeconds: number, gates: ReadonlySet<Gate>): CanaryStepDraft[] {
  const steps = weights.map((weight, index): CanaryStepDraft => ({ weight, soakSeconds, ...((gates.has('confirm-rollout') && index === 0) || gates.has('confirm-traffic-increase') ? { approval: GATE } : {}) }));
  // Asked before the rest follows: all traffic is a step of its own.
  return gates.has('confirm-promotion') && steps.length < MOST_STEPS ? [...steps, { weight: 100, approval: GATE }] : steps;
}

function gatesOf(analysis: SpecReader): Set<Gate> {
  const gates = new Set<Gate>();
  for (const webhook of analysis.list('webhooks')) {
    const type = webhook.text('type') ?? 'rollout';
    const name = webhook.text('name') ?? '';
    webhook.drop();
    if (Object.hasOwn(GATES, type)) {
      const gate = type as Gate;
      gates.add(gate);
      webhook.note('changed', `${name}: people approve before ${GATES[gate]}, where Flagger asked a webhook; refused after 30 days`);
    } else webhook.note('lost', `${name}: HAL9 calls no webhook here (${type}); a metric with an http source or a Job checks, outgoing webhooks tell`);
  }
  return gates;
}

function metricsOf(analysis: SpecReader, when: Occasion, intervalSeconds: number, context: Context): ImportedMetric[] {
  const allowed = Math.min(MOST_FAILURES, Math.max(1, analysis.number('threshold') ?? 1));
  if (allowed > 1) analysis.note('changed', 'failed looks count in a row and by metric, not in all', 'threshold');
  return analysis.list('metrics').flatMap((metric) => {
    const name = metric.text('name') ?? '';
    const noted = context.notes.length;
    const read = metricOf(metric, name, context);
    if (typeof read !== 'string') return [{ metric: { name, ...read, ...(when === 'soak' ? {} : { when }), ...(allowed === 1 ? {} : { failures: allowed }) }, intervalSeconds, looks: undefined }];
    // A metric is carried as a whole or not at all, and then for one reason.
    context.notes.length = noted;
    metric.drop();
    metric.note('lost', `${name}: ${read}`);
    return [];
  });
}

/** The metric, or why there is none. */
function metricOf(metric: SpecReader, name: string, context: Context): Pick<MetricDraft, 'source' | 'judge'> | string {
  const range = metric.child('thresholdRange');
  const old = metric.number('threshold');
  const [below, above] = [range?.number('min') ?? (name === 'request-success-rate' ? old : undefined), range?.number('max') ?? (name === 'request-success-rate' ? undefined : old)];
  if (below === undefined && above === undefined) return 'it has no thresholdRange';
  const interval = metric.text('interval') ?? '1m';
  if (secondsOf(interval) === undefined) return `"${interval}" is no interval`;
  const query = queryOf(metric, name, interval, context);
  if ('lost' in query) return query.lost;
  metric.note('todo', `make a connection ${context.names.prometheus} of kind http${query.address === undefined ? '' : ` with the base URL ${query.address}`}`);
  return { source: { kind: 'prometheus', connection: context.names.prometheus, query: query.text }, judge: { kind: 'threshold', ...(above === undefined ? {} : { above }), ...(below === undefined ? {} : { below }) } };
}

function queryOf(metric: SpecReader, name: string, interval: string, context: Context): { text: string; address?: string | undefined } | { lost: string } {
  const reference = metric.child('templateRef');
  const variables = metric.raw('templateVariables');
  const written = metric.text('query');
  if (written !== undefined) return filled(written, interval, variables, context);
  if (reference === undefined) return builtIn(name, interval, context);
  const [template, namespace] = [reference.text('name') ?? '', reference.text('namespace') ?? context.namespace];
  const found = context.documents.find(['MetricTemplate'], namespace, template);
  if (found === undefined) return { lost: `the template ${template} is not among the documents: add it and import again` };
  const spec = new SpecReader(`MetricTemplate ${namespace}/${template}`, found.content['spec'], context.notes, '/spec');
  const provider = spec.child('provider');
  const type = provider?.text('type') ?? 'prometheus';
  if (type !== 'prometheus') return { lost: `HAL9 does not ask ${type}` };
  if (provider?.has('secretRef') === true) {
    provider.raw('secretRef');
    provider.note('todo', `give the connection ${context.names.prometheus} the headers that Prometheus asks for`, 'secretRef');
  }
  const address = provider?.text('address');
  const query = filled(spec.text('query') ?? '', interval, variables, context);
  spec.end();
  return 'lost' in query ? query : { ...query, address };
}

/** What Flagger measures by itself, in Istio's own metrics (https://istio.io/latest/docs/reference/config/metrics/), of the version beside. */
function builtIn(name: string, interval: string, { provider, workload }: Context): { text: string } | { lost: string } {
  if (provider !== 'istio') return { lost: `what it asks of ${provider ?? 'the provider'} is not known here: write the query, with {{newPods}}` };
  const of = `reporter="destination",destination_workload_namespace="{{namespace}}",destination_workload="${workload}${NEXT_SUFFIX}"`;
  if (name === 'request-success-rate') return { text: `100 * sum(rate(istio_requests_total{${of},response_code!~"5.*"}[${interval}])) / sum(rate(istio_requests_total{${of}}[${interval}]))` };
  if (name === 'request-duration') return { text: `histogram_quantile(0.99, sum by (le) (rate(istio_request_duration_milliseconds_bucket{${of}}[${interval}])))` };
  return { lost: 'it has neither a query nor a template' };
}

/** Fills the variables of a Go template in; names of what Flagger ran become those of what HAL9 runs beside. */
function filled(query: string, interval: string, variables: unknown, context: Context): { text: string } | { lost: string } {
  const values: Readonly<Record<string, string | undefined>> = {
    namespace: '{{namespace}}',
    interval,
    target: `${context.workload}${NEXT_SUFFIX}`,
    canary: `${context.workload}${NEXT_SUFFIX}`,
    primary: context.workload,
    service: context.front,
    ingress: context.ingress,
  };
  let lost: string | undefined;
  // The usual pattern of pod names: HAL9 has one that matches its own exactly.
  const text = query.trim().replaceAll(/=~\s*"\{\{\s*target\s*\}\}-[^"]*"/g, '=~"{{newPods}}"').replaceAll(/\{\{\s*(variables\.)?([\w-]+)\s*\}\}/g, (whole, own: string | undefined, name: string) => {
    if (whole === '{{newPods}}') return whole;
    const value = own === undefined ? values[name] : fieldOf(variables, name);
    if (typeof value === 'string') return value;
    lost ??= `nothing is known for ${whole} in its query`;
    return whole;
  });
  const rest = /\{\{(?!(?:namespace|newPods)\}\})[^}]*\}\}/.exec(text);
  lost ??= rest === null ? undefined : `${rest[0]} in its query is more than a variable`;
  return lost === undefined ? { text } : { lost };
}
