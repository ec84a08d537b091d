import type { ImportedMetric, ImportNames, MetricDraft, Occasion, SpecDocument } from './imported-draft.ts';
import { isObject, SpecReader, type ImportNote } from './spec-reader.ts';
import { limitsOf } from './success-condition.ts';

/** Values of the arguments of a template, or why one cannot be had. */
export type TemplateArguments = Map<string, { readonly text: string } | { readonly lost: string }>;

type Judge = NonNullable<MetricDraft['judge']>;
type Source = MetricDraft['source'];

const MOST_FAILURES = 20;
const JOB_SECONDS = { usual: 300, most: 3600 } as const;

/** The metrics of an AnalysisTemplate; https://argo-rollouts.readthedocs.io/en/stable/features/analysis/. */
export function argoMetrics(template: SpecDocument, given: TemplateArguments, when: Occasion, names: ImportNames, notes: ImportNote[]): ImportedMetric[] {
  const spec = new SpecReader(`${template.kind} ${template.name}`, template.content['spec'], notes, '/spec');
  const values: TemplateArguments = new Map(given);
  for (const declared of spec.list('args')) {
    const [name, value] = [declared.text('name') ?? '', declared.text('value')];
    const from = declared.raw('valueFrom');
    if (!values.has(name)) values.set(name, value !== undefined ? { text: value } : { lost: from === undefined ? 'no value is given' : 'a value from elsewhere in the cluster' });
  }
  const dry = new Set(spec.list('dryRun').map((one) => one.text('metricName')));
  const metrics = spec.list('metrics').flatMap((metric) => {
    const name = metric.text('name') ?? '';
    const noted = notes.length;
    const read = dry.has(name) || dry.has('.*') ? 'it is only tried, and HAL9 has no metrics that decide nothing' : metricOf(metric, name, values, when, names);
    if (typeof read !== 'string') return [read];
    // A metric is carried as a whole or not at all, and then for one reason.
    notes.length = noted;
    metric.drop();
    metric.note('lost', `${name}: ${read}`);
    return [];
  });
  spec.end();
  return metrics;
}

/** The metric, or why there is none. */
function metricOf(metric: SpecReader, name: string, values: TemplateArguments, when: Occasion, names: ImportNames): ImportedMetric | string {
  const provider = metric.child('provider');
  const [kind, ...others] = provider?.names() ?? [];
  if (provider === undefined || kind === undefined || others.length > 0) return 'it names no provider';
  const source = sourceOf(provider, kind, values, names);
  if (typeof source === 'string') return source;
  const judged = source.source.kind === 'job' ? {} : judgeOf(metric, values, source.source);
  if (typeof judged === 'string') return judged;
  const failures = (metric.number('failureLimit') ?? 0) + 1;
  if (failures > 1) metric.note('changed', `${name}: failed looks count in a row, not in all`, 'failureLimit');
  const looks = metric.number('count');
  if (when === 'before' && (looks ?? 1) > 1) metric.note('changed', `${name}: before the switch a metric is looked at once`, 'count');
  const intervalSeconds = metric.seconds('interval');
  return { metric: { name, source: source.source, ...judged, ...(when === 'soak' ? {} : { when }), ...(failures === 1 ? {} : { failures: Math.min(MOST_FAILURES, Math.max(1, failures)) }) }, intervalSeconds, looks };
}

/** Where its numbers come from, or why they cannot. */
function sourceOf(provider: SpecReader, kind: string, values: TemplateArguments, names: ImportNames): { source: Source } | string {
  const below = provider.child(kind);
  if (below === undefined) return `its provider ${kind} says nothing`;
  switch (kind) {
    case 'prometheus':
      return prometheusOf(below, values, names);
    case 'web':
      return webOf(below, values);
    case 'job':
      return jobOf(below, values);
    default:
      return `HAL9 does not ask ${kind}`;
  }
}

function prometheusOf(prometheus: SpecReader, values: TemplateArguments, names: ImportNames): { source: Source } | string {
  const query = filled(prometheus.text('query') ?? '', values);
  if ('lost' in query) return query.lost;
  const address = prometheus.text('address');
  for (const secret of ['authentication', 'headers']) {
    if (!prometheus.has(secret)) continue;
    prometheus.raw(secret);
    prometheus.note('todo', `give the connection ${names.prometheus} the headers that Prometheus asks for`, secret);
  }
  prometheus.note('todo', `make a connection ${names.prometheus} of kind http${address === undefined ? '' : ` with the base URL ${address}`}`, 'address');
  return { source: { kind: 'prometheus', connection: names.prometheus, query: query.text.trim() } };
}

function webOf(web: SpecReader, values: TemplateArguments): { source: Source } | string {
  const url = filled(web.text('url') ?? '', values);
  if ('lost' in url) return url.lost;
  if ((web.text('method') ?? 'GET').toUpperCase() !== 'GET') return 'HAL9 only asks, by GET';
  if (web.has('headers') || web.has('authentication')) {
    web.raw('headers');
    web.raw('authentication');
    web.note('todo', 'make a connection of kind http with the headers, and name it in the source', 'headers');
  }
  const path = web.text('jsonPath');
  if (path === undefined) return { source: { kind: 'http', url: url.text } };
  const value = pointerOf(path);
  return value === undefined ? `${path} is no plain path to a value` : { source: { kind: 'http', url: url.text, value } };
}

/** `{$.data.items[0]}` as a JSON pointer (RFC 6901). */
function pointerOf(path: string): string | undefined {
  const inner = /^\{?\s*\$((?:\.[A-Za-z_][\w-]*|\[\d+\])+)\s*\}?$/.exec(path)?.[1];
  return inner === undefined ? undefined : [...inner.matchAll(/[A-Za-z_][\w-]*|\d+/g)].map(([part]) => `/${part}`).join('');
}

function jobOf(job: SpecReader, values: TemplateArguments): { source: Source } | string {
  const spec = job.child('spec');
  job.raw('metadata');
  const template = filledWithin(spec?.raw('template'), values);
  if ('lost' in template) return template.lost;
  if (!isObject(template.value)) return 'its Job has no template';
  const timeout = spec?.number('activeDeadlineSeconds') ?? JOB_SECONDS.usual;
  return { source: { kind: 'job', template: template.value, ...(timeout === JOB_SECONDS.usual ? {} : { timeoutSeconds: Math.min(JOB_SECONDS.most, timeout) }) } };
}

/** Limits of its conditions, or why there are none. */
function judgeOf(metric: SpecReader, values: TemplateArguments, source: Source): { judge?: Judge } | string {
  const [success, failure] = [metric.text('successCondition'), metric.text('failureCondition')];
  const condition = success ?? failure;
  if (condition === undefined) return source.kind === 'http' && source.value === undefined ? {} : 'it has no condition to judge by';
  const text = filled(condition, values);
  if ('lost' in text) return text.lost;
  const field = success === undefined ? 'failureCondition' : 'successCondition';
  const limits = limitsOf(text.text, success === undefined ? 'failure' : 'success');
  if (limits === undefined) return `"${text.text}" is more than a limit`;
  if (source.kind === 'http' && source.value === undefined) return 'it judges an answer without a jsonPath';
  if (success !== undefined && failure !== undefined) metric.note('changed', 'what neither condition met was inconclusive; it fails in HAL9', 'failureCondition');
  if (limits.aboutNothing.length > 0) metric.note('changed', `"${limits.aboutNothing.join('", "')}": without data HAL9 never decides, it asks people`, field);
  if (limits.atEdge.length > 0) metric.note('changed', `exactly ${limits.atEdge.join(' and ')} passes in HAL9`, field);
  return { judge: { kind: 'threshold', ...(limits.above === undefined ? {} : { above: limits.above }), ...(limits.below === undefined ? {} : { below: limits.below }) } };
}

/** With `{{args.name}}` filled in, or why it cannot be. */
function filled(text: string, values: TemplateArguments): { text: string } | { lost: string } {
  let lost: string | undefined;
  const done = text.replaceAll(/\{\{\s*(?:inputs\.)?args?\.([\w-]+)\s*\}\}/g, (whole, name: string) => {
    const value = values.get(name);
    if (value !== undefined && 'text' in value) return value.text;
    lost ??= `its argument ${name} is ${value?.lost ?? 'not given'}`;
    return whole;
  });
  return lost === undefined ? { text: done } : { lost };
}

function filledWithin(value: unknown, values: TemplateArguments): { value: unknown } | { lost: string } {
  let lost: string | undefined;
  const fill = (one: unknown): unknown => {
    if (typeof one === 'string') {
      const text = filled(one, values);
      if ('text' in text) return text.text;
      lost ??= text.lost;
      return one;
    }
    if (Array.isArray(one)) return one.map((item) => fill(item));
    return isObject(one) ? Object.fromEntries(Object.entries(one).map(([name, item]) => [name, fill(item)])) : one;
  };
  const done = fill(value);
  return lost === undefined ? { value: done } : { lost };
}
