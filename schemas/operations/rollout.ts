import { z } from 'zod';
import { APPROVAL_UPDATE } from '../names/messages.ts';
import { ROLLOUT_CAUSES, ROLLOUT_DECISION_UPDATE, ROLLOUT_QUERY, type RolloutCause } from '../names/rollouts.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { approvalRuleSchema } from '../neurons/definition.ts';
import { approvalAnswerSchema, approvalTallySchema } from './approval.ts';
import { defineOperation } from './operation.ts';

const objectName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'is no name of a Kubernetes object');
/** Names HAL9 derives get a suffix, and labels hold 63 characters. */
const workloadName = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$/, 'is no name of a workload, or longer than 50 characters');
const connectionName = z.string().min(1).max(128);
const seconds = (most: number) => z.number().min(0).max(most);
const WEEK = 7 * 86_400;

/** A share of the traffic, held for a while. */
export const canaryStepSchema = z.strictObject({
  /** Per cent of the traffic that the new version gets. */
  weight: z.int().min(1).max(100),
  /** How long it is watched at that weight. */
  soakSeconds: seconds(WEEK).default(0),
  /** Asked before the weight is set. */
  approval: approvalRuleSchema.optional(),
});

/** Who splits the traffic. Without one, replicas do: both versions stand behind the Service, in the ratio of the weight. */
export const trafficSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('gateway'), route: objectName.describe('HTTPRoute (gateway.networking.k8s.io/v1) with a backendRef to the Service.') }),
  z.strictObject({ kind: z.literal('istio'), virtualService: objectName.describe('VirtualService (networking.istio.io/v1) with a route to the Service.') }),
  z.strictObject({ kind: z.literal('nginx'), ingress: objectName.describe('Ingress with a backend of the Service; HAL9 adds a canary Ingress beside it.') }),
]);
export type Traffic = z.infer<typeof trafficSchema>;

export const strategySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('rolling') }),
  z.strictObject({ kind: z.literal('canary'), steps: z.array(canaryStepSchema).min(1).max(50), traffic: trafficSchema.optional() }),
  z.strictObject({
    kind: z.literal('blue-green'),
    /** Asked when the new version is ready and checked, before the Service points to it. */
    approval: approvalRuleSchema.optional(),
    /** How long the new version is watched with all traffic while the old one stays ready. */
    soakSeconds: seconds(WEEK).default(0),
    /** How long the pods that were switched away from stay. */
    scaleDownDelaySeconds: seconds(86_400).default(30),
  }),
]);
export type Strategy = z.infer<typeof strategySchema>;

export const rolloutServiceSchema = z.strictObject({
  /** What this rollout calls it. */
  name: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,62})$/),
  namespace: objectName.default('default'),
  kind: z.enum(['Deployment', 'StatefulSet']).default('Deployment'),
  /** The workload's name; default the name above. */
  workload: workloadName.optional(),
  /** New image of each container that changes. */
  images: z.record(z.string().min(1).max(63), z.string().min(1).max(1000)).refine((images) => Object.keys(images).length > 0, 'name at least one container'),
  /** The Service in front of it; needed to split or switch traffic. */
  service: objectName.optional(),
  /** Services of this rollout that must be out first. */
  after: z.array(z.string()).max(50).default([]),
  /** Default: the rollout's. */
  strategy: strategySchema.optional(),
});
export type RolloutService = z.infer<typeof rolloutServiceSchema>;

const query = z.string().min(1).max(8192).describe('PromQL. `{{namespace}}`, `{{oldPods}}` and `{{newPods}}` stand for the namespace and for regular expressions of pod names.');

export const metricSourceSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('prometheus'),
    /** A connection of kind `http` whose base URL is that of Prometheus. */
    connection: connectionName,
    /** Samples of the new version; for the sequential judge its events. */
    query,
    /** The same of the old version. */
    baseline: query.optional(),
    /** What the events are counted among, of both; for the sequential judge. */
    exposure: query.optional(),
    baselineExposure: query.optional(),
    /** Step of the range query, seconds; default the interval. */
    stepSeconds: z.number().min(1).max(3600).optional(),
  }),
  z.strictObject({
    kind: z.literal('http'),
    /** A connection of kind `http` with the headers to send; the URL must be of its origin. */
    connection: connectionName.optional(),
    url: z.url({ protocol: /^https?$/ }).max(2048),
    statuses: z.array(z.int().min(100).max(599)).min(1).default([200]),
    /** JSON pointer (RFC 6901) to a number in the answer, judged by thresholds. */
    value: z.string().max(500).regex(/^(\/[^/]*)*$/).optional(),
  }),
  z.strictObject({
    kind: z.literal('job'),
    /** Pod template of a Job that HAL9 runs in the namespace; it passes when the Job completes. */
    template: z.record(z.string(), z.unknown()),
    timeoutSeconds: z.number().min(1).max(3600).default(300),
  }),
  z.strictObject({
    kind: z.literal('neuron'),
    /**
     * Name of a neuron of kind `rules`, `llm` or `http`. It sees one signal from `hal9/rollout`: `data` `{service, cluster, namespace, workload, step, since, from, to, metrics, signals}`, where
     * `metrics` are the verdicts of those looked at with it, by name, and answers with the data of what it emits or delegates: {@link neuronVerdictSchema}.
     */
    neuron: z.string().min(1).max(128),
    /** Type of that signal. */
    type: z.string().min(1).max(256).default('hal9.rollout.look'),
    /** Which signals it is shown, the newest first; default none. */
    signals: z
      .strictObject({
        type: z.string().min(1).max(256).optional(),
        source: z.string().min(1).max(512).optional(),
        subject: z.string().min(1).max(512).optional(),
        /** Of the last so many seconds. */
        seconds: z.number().min(1).max(86_400).default(600),
        limit: z.int().min(1).max(100).default(20),
      })
      .optional(),
  }),
]);

/** What a neuron answers that is asked whether a version is good. What it says counts as it is; with thresholds the score must be within them, too. */
export const neuronVerdictSchema = z.object({
  outcome: z.enum(['pass', 'fail', 'inconclusive']).optional(),
  score: z.number().optional(),
  reason: z.string().optional(),
});
export type NeuronVerdict = z.infer<typeof neuronVerdictSchema>;

export const metricJudgeSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('compare'),
    direction: z.enum(['increase', 'decrease', 'either']).default('increase').describe('Which changes are bad.'),
    tolerance: z.number().min(0).max(10).default(0.25),
    confidence: z.number().min(0.5).max(0.9999).default(0.98),
    measure: z.enum(['meanRatio', 'cles']).default('meanRatio'),
    /** Effect sizes from which a change counts. */
    high: z.number().default(1),
    low: z.number().default(1),
    nan: z.enum(['remove', 'replace']).default('remove').describe('`replace` counts what is no number as 0, for counters that say nothing while nothing happens.'),
    outliers: z.discriminatedUnion('kind', [z.strictObject({ kind: z.literal('keep') }), z.strictObject({ kind: z.literal('iqr'), factor: z.number().positive() }), z.strictObject({ kind: z.literal('sigma'), k: z.number().positive() })]).default({ kind: 'keep' }),
    /** Fewer samples of either version decide nothing. */
    minimumSamples: z.int().min(3).max(10_000).default(8),
  }),
  z.strictObject({ kind: z.literal('threshold'), above: z.number().optional().describe('Fails above.'), below: z.number().optional().describe('Fails below.'), minimumSamples: z.int().min(1).max(10_000).default(1) })
    .refine(({ above, below }) => above !== undefined || below !== undefined, 'needs `above` or `below`'),
  z.strictObject({ kind: z.literal('sequential'), ratio: z.number().min(1.1).max(100).default(2), falseAlarm: z.number().min(0.0001).max(0.2).default(0.01), missed: z.number().min(0.0001).max(0.2).default(0.01), tolerableRate: z.number().min(0).max(1).default(0.001) }),
]);

export const rolloutMetricSchema = z
  .strictObject({
    name: z.string().min(1).max(100),
    source: metricSourceSchema,
    /** Default: an HTTP check passes by its status, a Job by completing, a neuron by saying so. */
    judge: metricJudgeSchema.optional(),
    /** `soak`: again and again while a step is watched; `before`: once, before all traffic goes to the new version; `after`: once, when it is out. */
    when: z.enum(['soak', 'before', 'after']).default('soak'),
    /** Failed looks in a row that roll back. */
    failures: z.int().min(1).max(20).default(1),
  })
  .superRefine(({ source, judge }, context) => {
    const wrong = (message: string): void => context.addIssue({ code: 'custom', path: ['judge'], message });
    if (source.kind === 'prometheus' && judge === undefined) wrong('a Prometheus query needs a judge');
    if (judge?.kind === 'compare' && (source.kind !== 'prometheus' || source.baseline === undefined)) wrong('comparing needs a Prometheus query with a baseline');
    if (judge?.kind === 'sequential' && (source.kind !== 'prometheus' || source.baseline === undefined || source.exposure === undefined || source.baselineExposure === undefined)) wrong('the sequential judge needs Prometheus queries of events and exposure, of both versions');
    if (judge?.kind === 'threshold' && source.kind === 'http' && source.value === undefined) wrong('thresholds need `value`, a pointer to a number');
    if (judge !== undefined && source.kind === 'job') wrong('a Job is judged by its end');
    if (judge?.kind === 'threshold' && source.kind === 'neuron' && judge.minimumSamples > 1) wrong('a neuron gives one score a look');
  });
export type RolloutMetric = z.infer<typeof rolloutMetricSchema>;

export const analysisSchema = z.strictObject({
  intervalSeconds: z.number().min(1).max(3600).default(60),
  metrics: z.array(rolloutMetricSchema).min(1).max(50),
  /** Further looks at metrics that decide nothing before people are asked. */
  patience: z.int().min(0).max(1000).default(3),
});

const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'use HH:MM');

/** When no step forward is taken. Going back is always allowed. */
export const freezeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('dates'), from: z.iso.datetime({ offset: true }), until: z.iso.datetime({ offset: true }), reason: z.string().max(200) }),
  z.strictObject({ kind: z.literal('weekly'), days: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).min(1), from: clock.default('00:00'), until: z.union([clock, z.literal('24:00')]).default('24:00'), timeZone: z.string().max(64).default('UTC').describe('IANA name.'), reason: z.string().max(200) }),
]);
export type Freeze = z.infer<typeof freezeSchema>;

export const waveSchema = z.strictObject({
  name: z.string().min(1).max(100),
  /** Connections of kind `kubernetes`, in this order. */
  clusters: z.array(connectionName).min(1).max(50),
  /** Asked before the wave. */
  approval: approvalRuleSchema.optional(),
  /** How long to wait when the wave is out, before the next. */
  soakSeconds: seconds(WEEK).default(0),
});

export const rolloutInputSchema = z
  .strictObject({
    services: z.array(rolloutServiceSchema).min(1).max(50),
    waves: z.array(waveSchema).min(1).max(20),
    strategy: strategySchema.default({ kind: 'rolling' }),
    analysis: analysisSchema.optional(),
    freeze: z.array(freezeSchema).max(100).default([]),
    /** Longest wait for pods to get ready, each time. */
    progressDeadlineSeconds: z.number().min(1).max(86_400).default(600),
    /** Going back to the images of the last rollout within this time skips steps and analysis. 0: never. */
    rollbackWindowSeconds: seconds(30 * 86_400).default(0),
    /** Reads everything, tries the change without keeping it, writes nothing. */
    dryRun: z.boolean().default(false),
    /** Connection that carries questions to people. */
    notify: connectionName.optional(),
  })
  .superRefine(({ services, strategy, waves }, context) => {
    const names = services.map(({ name }) => name);
    const wrong = (path: (string | number)[], message: string): void => context.addIssue({ code: 'custom', path, message });
    services.forEach(({ name, after, kind, service, ...own }, index) => {
      const used = own.strategy ?? strategy;
      if (names.indexOf(name) !== index) wrong(['services', index, 'name'], `there are two services named ${name}`);
      for (const other of after) if (!names.includes(other) || other === name) wrong(['services', index, 'after'], `${other} is no other service of this rollout`);
      if (kind === 'StatefulSet' && used.kind !== 'rolling') wrong(['services', index, 'strategy'], 'a StatefulSet is rolled: its pods have names of their own');
      if (service === undefined && (used.kind === 'blue-green' || (used.kind === 'canary' && used.traffic !== undefined))) wrong(['services', index, 'service'], 'is needed to switch or split traffic');
      const weights = used.kind === 'canary' ? used.steps.map(({ weight }) => weight) : [];
      if (weights.some((weight, at) => at > 0 && weight < (weights[at - 1] ?? 0))) wrong(['services', index, 'strategy'], 'weights only rise');
    });
    if (inOrder(services) === undefined) wrong(['services'], 'the services wait for each other in a circle');
    const clusters = waves.flatMap((wave) => wave.clusters);
    if (new Set(clusters).size < clusters.length) wrong(['waves'], 'a cluster is in two waves');
  });
export type RolloutInput = z.infer<typeof rolloutInputSchema>;

/** Services so that each comes after those it waits for, otherwise as given; undefined when they wait in a circle. */
function inOrder<Service extends { readonly name: string; readonly after: readonly string[] }>(services: readonly Service[]): Service[] | undefined {
  const out: Service[] = [];
  while (out.length < services.length) {
    const next = services.find((service) => !out.includes(service) && service.after.every((name) => out.some((done) => done.name === name)));
    if (next === undefined) return undefined;
    out.push(next);
  }
  return out;
}

/** What one look at one metric found, with all it rests on. */
export const verdictSchema = z.object({
  at: z.iso.datetime(),
  service: z.string(),
  cluster: z.string(),
  /** Where in the rollout, e.g. `canary 20 %`. */
  step: z.string(),
  metric: z.string(),
  outcome: z.enum(['pass', 'fail', 'inconclusive']),
  reason: z.string(),
  /** What was asked, of each version. */
  queries: z.record(z.string(), z.string()),
  /** What was answered; the newest 60 of each, of as many as were judged. null: no number. */
  samples: z.record(z.string(), z.array(z.number().nullable())),
  statistic: z.record(z.string(), z.union([z.number(), z.string(), z.null()])),
  threshold: z.record(z.string(), z.union([z.number(), z.string(), z.null()])),
});
export type Verdict = z.infer<typeof verdictSchema>;

const causeNames = Object.keys(ROLLOUT_CAUSES) as [RolloutCause, ...RolloutCause[]];

export const rolloutUnitSchema = z.object({
  service: z.string(),
  cluster: z.string(),
  wave: z.string(),
  namespace: z.string(),
  workload: z.string(),
  strategy: z.string(),
  state: z.enum(['waiting', 'running', 'new', 'old', 'edited']),
  /** Images before and after. */
  from: z.record(z.string(), z.string()),
  to: z.record(z.string(), z.string()),
});
export type RolloutUnit = z.infer<typeof rolloutUnitSchema>;

export const rolloutStandingSchema = z.object({
  step: z.string(),
  /** Why it waits for people; null while it does not. */
  waitingFor: z.string().nullable(),
  units: z.array(rolloutUnitSchema),
  /** The newest 100. */
  verdicts: z.array(verdictSchema),
});
export type RolloutStanding = z.infer<typeof rolloutStandingSchema>;

export const rolloutResultSchema = z.object({
  outcome: z.enum(['promoted', 'rolled-back', 'refused', 'planned']),
  /** One line: how it ended and why. */
  reason: z.string(),
  cause: z.object({ code: z.enum(causeNames), service: z.string(), cluster: z.string(), remedy: z.string() }).nullable(),
  units: z.array(rolloutUnitSchema),
  verdicts: z.array(verdictSchema),
  /** What a dry run would do, line by line. */
  plan: z.array(z.string()),
});
export type RolloutResult = z.infer<typeof rolloutResultSchema>;

export const rolloutDecisionSchema = z.strictObject({
  /** `abort` at any time. When it waits for people: `retry` looks again, `promote` takes the step without a verdict. */
  action: z.enum(['abort', 'retry', 'promote']),
  reason: z.string().max(1000).default(''),
});
export type RolloutDecision = z.infer<typeof rolloutDecisionSchema>;

export default defineOperation({
  name: 'rollout',
  summary: 'Bring new versions out on Kubernetes, watched, and back if they are worse',
  description:
    'Gives Deployments and StatefulSets that are there new images: rolling, as a canary by replicas or by weights of Gateway API, Istio or nginx, or blue-green; several services in order, clusters in waves. Metrics are judged while it goes; a failed one rolls everything back in reverse, and one that decides nothing waits for people. A rollout always ends fully old or fully new.',
  input: rolloutInputSchema,
  result: rolloutResultSchema,
  queries: { [ROLLOUT_QUERY]: { description: 'Where each service stands, and the newest verdicts.', payload: z.unknown(), answer: rolloutStandingSchema } },
  updates: {
    [ROLLOUT_DECISION_UPDATE]: { description: 'Aborts the rollout, or decides when it waits for people.', payload: rolloutDecisionSchema, answer: z.object({ accepted: z.boolean() }) },
    [APPROVAL_UPDATE]: { description: 'An answer to the question whether a step may be taken. Sent by POST /v1/approvals/{id}/approve and /refuse and by approval links, which sign it.', payload: approvalAnswerSchema, answer: approvalTallySchema },
  },
  taskQueue: TASK_QUEUES.core,
  permission: 'runs:write',
  timeouts: { execution: '60 days' },
  effect: 'irreversible',
  versioning: 'auto-upgrade',
});
