import { NEXT_SUFFIX } from '../../schemas/names/rollouts.ts';
import { argoMetrics, type TemplateArguments } from './argo-analysis.ts';
import { draftOf, fieldOf, intervalOf, templateImages, type CanaryStepDraft, type ImportedMetric, type ImportNames, type Occasion, type RolloutDraft, type SpecDocument, type SpecDocuments, type StrategyDraft, type TrafficDraft } from './imported-draft.ts';
import { SpecReader, type ImportNote } from './spec-reader.ts';

/** Argo waits for people without end; HAL9's questions have one. */
const LONGEST_WAIT_SECONDS = 30 * 86_400;
const GATE = { required: 1, deadlineSeconds: LONGEST_WAIT_SECONDS };
const GATEWAY_PLUGIN = 'argoproj-labs/gatewayAPI';

interface Context {
  readonly document: SpecDocument;
  readonly documents: SpecDocuments;
  readonly names: ImportNames;
  readonly notes: ImportNote[];
  /** Analyses are told of renamed Services. */
  readonly renamed: Map<string, string>;
}

/** A `Rollout` of argoproj.io/v1alpha1; https://argo-rollouts.readthedocs.io/en/stable/features/specification/. */
export function importArgo(document: SpecDocument, documents: SpecDocuments, names: ImportNames, notes: ImportNote[]): RolloutDraft {
  const context: Context = { document, documents, names, notes, renamed: new Map() };
  const spec = new SpecReader(`Rollout ${document.namespace}/${document.name}`, document.content['spec'], notes, '/spec');
  const { workload, images } = workloadOf(spec, context);
  const strategy = spec.child('strategy');
  const canary = strategy?.child('canary');
  const blueGreen = strategy?.child('blueGreen');
  const out = canary !== undefined ? canaryOf(canary, context) : blueGreen !== undefined ? blueGreenOf(blueGreen, context) : { service: undefined, strategy: { kind: 'rolling' } as const, metrics: [] };
  if (spec.flag('progressDeadlineAbort') === false) spec.note('changed', 'HAL9 always goes back when pods do not get ready in time', 'progressDeadlineAbort');
  if (spec.raw('rollbackWindow') !== undefined) spec.note('lost', 'HAL9 counts time, not revisions: set rollbackWindowSeconds', 'rollbackWindow');
  const progressDeadlineSeconds = spec.number('progressDeadlineSeconds');
  spec.end();
  return draftOf({ name: document.name, namespace: document.namespace, workload, images, progressDeadlineSeconds, ...out }, names);
}

/** Argo's Rollout is the workload; HAL9 works on a Deployment. */
function workloadOf(spec: SpecReader, { document, documents }: Context): { workload: string; images: Record<string, string> } {
  const reference = spec.child('workloadRef');
  const ofWorkload = ['replicas', 'selector', 'minReadySeconds', 'revisionHistoryLimit'].filter((name) => spec.has(name));
  for (const name of ofWorkload) spec.raw(name);
  if (reference === undefined) {
    const template = spec.raw('template');
    spec.note('todo', `Make a Deployment ${document.name} of ${['template', ...ofWorkload].join(', ')}, and delete the Rollout when its pods are ready: HAL9 works on Deployments`);
    return { workload: document.name, images: templateImages(template) };
  }
  reference.raw('apiVersion');
  const [kind, name] = [reference.text('kind') ?? 'Deployment', reference.text('name') ?? document.name];
  if (kind !== 'Deployment') reference.note('lost', `HAL9 works on Deployments, not on a ${kind}`, 'kind');
  if (reference.text('scaleDown') !== 'never') reference.note('todo', `Argo keeps the Deployment ${name} at no replicas: delete the Rollout and scale it up`, 'scaleDown');
  const found = documents.find([kind], document.namespace, name);
  if (found === undefined) reference.note('todo', `Say the new images: the ${kind} ${name} is not among the documents`, 'name');
  return { workload: name, images: templateImages(fieldOf(fieldOf(found?.content, 'spec'), 'template')) };
}

interface Out {
  readonly service: string | undefined;
  readonly strategy: StrategyDraft;
  readonly metrics: readonly ImportedMetric[];
}

function canaryOf(canary: SpecReader, context: Context): Out {
  const service = serviceOf(canary, 'stableService', 'canaryService', context);
  const routing = canary.child('trafficRouting');
  const traffic = routing === undefined ? undefined : trafficOf(routing);
  const metrics = analysisOf(canary, 'analysis', 'soak', context);
  const read = stepsOf(canary, context);
  if (read.steps.length === 0) {
    canary.note('changed', 'without steps the Deployment rolls as its own strategy says');
    return { service, strategy: { kind: 'rolling' }, metrics: [...metrics, ...read.metrics] };
  }
  return { service, strategy: { kind: 'canary', steps: read.steps, ...(traffic === undefined ? {} : { traffic }) }, metrics: [...metrics, ...read.metrics] };
}

/** Weights with what follows them: a pause is how long a weight is watched, one without end is a question to people before the next. */
function stepsOf(canary: SpecReader, context: Context): { steps: CanaryStepDraft[]; metrics: ImportedMetric[] } {
  const steps: CanaryStepDraft[] = [];
  const metrics: ImportedMetric[] = [];
  let asks = false;
  const push = (weight: number): void => {
    steps.push({ weight, ...(asks ? { approval: GATE } : {}) });
    asks = false;
  };
  const hold = (seconds: number): boolean => {
    const last = steps.at(-1);
    if (last === undefined) return false;
    steps[steps.length - 1] = { ...last, soakSeconds: (last.soakSeconds ?? 0) + seconds };
    return true;
  };
  for (const step of canary.list('steps')) {
    if (step.has('setWeight')) {
      const weight = step.number('setWeight') ?? 0;
      if (weight < 1) step.note('lost', 'a weight of 0 sends nobody to the new version', 'setWeight');
      else if (weight < (steps.at(-1)?.weight ?? 0)) step.note('lost', 'weights only rise in HAL9', 'setWeight');
      else push(weight);
    } else if (step.has('pause')) {
      const pause = step.child('pause');
      if (pause === undefined) continue;
      const seconds = pause.seconds('duration');
      if (seconds === undefined) {
        asks = true;
        step.note('changed', 'a pause without end becomes an approval by one person, refused after 30 days', 'pause');
      } else if (!hold(seconds)) step.note('lost', 'a pause before the first weight: nothing is out yet', 'pause');
    } else if (step.has('analysis')) {
      const found = analysisOf(step, 'analysis', 'soak', context);
      step.note('changed', 'an analysis of one step is looked at while every step is watched', 'analysis');
      metrics.push(...found);
      if (!hold(watchOf(found))) step.note('changed', 'an analysis before the first weight: there is nothing to look at until then', 'analysis');
    }
  }
  // Asked before the rest follows: all traffic is a step of its own.
  if (asks) push(100);
  return { steps, metrics };
}

/** Long enough for all the looks that were asked for. */
function watchOf(metrics: readonly ImportedMetric[]): number {
  const interval = intervalOf(metrics);
  return Math.max(0, ...metrics.map(({ looks, intervalSeconds }) => (looks ?? 1) * (intervalSeconds ?? interval)));
}

function blueGreenOf(blueGreen: SpecReader, context: Context): Out {
  const service = serviceOf(blueGreen, 'activeService', 'previewService', context);
  const manual = blueGreen.flag('autoPromotionEnabled') === false;
  if (manual) blueGreen.note('changed', 'the switch waits for the approval of one person, and is refused after 30 days', 'autoPromotionEnabled');
  if (blueGreen.number('autoPromotionSeconds') !== undefined) blueGreen.note('lost', manual ? 'nobody approves by waiting: the approval decides' : 'HAL9 switches as soon as the new pods are ready and checked', 'autoPromotionSeconds');
  const before = analysisOf(blueGreen, 'prePromotionAnalysis', 'before', context);
  const after = analysisOf(blueGreen, 'postPromotionAnalysis', 'soak', context);
  const delay = blueGreen.seconds('scaleDownDelaySeconds');
  const soakSeconds = watchOf(after);
  return {
    service,
    strategy: { kind: 'blue-green', ...(manual ? { approval: GATE } : {}), ...(soakSeconds === 0 ? {} : { soakSeconds }), ...(delay === undefined ? {} : { scaleDownDelaySeconds: delay }) },
    metrics: [...before, ...after],
  };
}

function serviceOf(strategy: SpecReader, stable: string, beside: string, { renamed }: Context): string | undefined {
  const [service, other] = [strategy.text(stable), strategy.text(beside)];
  if (other !== undefined) {
    const next = service === undefined ? undefined : `${service}${NEXT_SUFFIX}`;
    strategy.note('changed', next === undefined ? `HAL9 needs no Service ${other}` : `HAL9 makes a Service of its own for the new version, ${next}, and removes it at the end`, beside);
    if (next !== undefined) renamed.set(other, next);
  }
  return service;
}

function trafficOf(routing: SpecReader): TrafficDraft | undefined {
  const [istio, nginx, plugins] = [routing.child('istio'), routing.child('nginx'), routing.child('plugins')];
  const gateway = plugins?.child(GATEWAY_PLUGIN);
  const traffic = istio !== undefined ? istioOf(istio) : nginx !== undefined ? nginxOf(nginx) : gateway === undefined ? undefined : gatewayOf(gateway);
  if (traffic === undefined) routing.note('changed', 'HAL9 cannot split here: replicas do, both versions stand behind the Service in the ratio of the weight');
  return traffic;
}

function istioOf(istio: SpecReader): TrafficDraft | undefined {
  const services = istio.has('virtualService') ? [istio.child('virtualService')] : istio.list('virtualServices');
  const [first] = services;
  const virtualService = first?.text('name');
  if (first?.has('routes') === true) {
    first.raw('routes');
    first.note('changed', 'every route that sends everything to the Service is split, whatever it is called', 'routes');
  }
  if (services.length > 1) istio.note('lost', 'HAL9 splits one VirtualService', 'virtualServices');
  if (istio.raw('destinationRule') !== undefined) {
    istio.note('lost', 'HAL9 splits between Services, not between subsets of one', 'destinationRule');
    return undefined;
  }
  return virtualService === undefined ? undefined : { kind: 'istio', virtualService };
}

function nginxOf(nginx: SpecReader): TrafficDraft | undefined {
  const several = nginx.raw('stableIngresses');
  const listed = Array.isArray(several) ? several.filter((name) => typeof name === 'string') : [];
  if (listed.length > 1) nginx.note('lost', 'HAL9 splits one Ingress', 'stableIngresses');
  const ingress = nginx.text('stableIngress') ?? listed[0];
  return ingress === undefined ? undefined : { kind: 'nginx', ingress };
}

function gatewayOf(gateway: SpecReader): TrafficDraft | undefined {
  const routes = gateway.list('httpRoutes');
  if (routes.length > 1) gateway.note('lost', 'HAL9 splits one HTTPRoute', 'httpRoutes');
  const route = gateway.text('httpRoute') ?? routes[0]?.text('name');
  gateway.raw('namespace');
  return route === undefined ? undefined : { kind: 'gateway', route };
}

function analysisOf(parent: SpecReader, field: string, when: Occasion, { document, documents, names, notes, renamed }: Context): ImportedMetric[] {
  const analysis = parent.child(field);
  if (analysis === undefined) return [];
  const given: TemplateArguments = new Map(analysis.list('args').map((one) => [one.text('name') ?? '', argumentOf(one, renamed)]));
  if (analysis.has('startingStep')) {
    analysis.raw('startingStep');
    analysis.note('changed', 'looked at from the first step on', 'startingStep');
  }
  const wanted = [...analysis.list('templates').map((one) => ({ name: one.text('templateName'), cluster: one.flag('clusterScope') === true })), ...(analysis.has('templateName') ? [{ name: analysis.text('templateName'), cluster: false }] : [])];
  return wanted.flatMap(({ name, cluster }) => {
    if (name === undefined) return [];
    const template = documents.find([cluster ? 'ClusterAnalysisTemplate' : 'AnalysisTemplate'], document.namespace, name);
    if (template !== undefined) return argoMetrics(template, given, when, names, notes);
    analysis.note('lost', `the template ${name} is not among the documents: add it and import again`, 'templates');
    return [];
  });
}

function argumentOf(one: SpecReader, renamed: ReadonlyMap<string, string>): { text: string } | { lost: string } {
  const value = one.text('value');
  if (value !== undefined) return { text: [...renamed].reduce((text, [from, to]) => text.replaceAll(new RegExp(`(?<![\\w-])${from}(?![\\w-])`, 'g'), to), value) };
  const from = one.raw('valueFrom');
  if (fieldOf(from, 'podTemplateHashValue') !== undefined) return { lost: 'the hash of a pod template: use {{newPods}} and {{oldPods}}, which are regular expressions of pod names' };
  if (fieldOf(fieldOf(from, 'fieldRef'), 'fieldPath') === 'metadata.namespace') return { text: '{{namespace}}' };
  return { lost: 'a value from elsewhere in the cluster' };
}
