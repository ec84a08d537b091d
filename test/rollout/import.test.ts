import { describe, expect, it } from 'vitest';
import { importRollouts, type RolloutImport } from '../../platform/rollouts/import.ts';
import { secondsOf } from '../../platform/rollouts/spec-reader.ts';
import { limitsOf } from '../../platform/rollouts/success-condition.ts';
import { rolloutInputSchema } from '../../schemas/operations/rollout.ts';

const NAMES = { cluster: 'production', prometheus: 'prometheus', images: {} };
const read = (text: string, names: Partial<typeof NAMES> = {}): RolloutImport => importRollouts(text, { ...NAMES, ...names });
const only = (text: string, names: Partial<typeof NAMES> = {}): RolloutImport['rollouts'][number] => {
  const { rollouts: [first, ...more] } = read(text, names);
  expect(more).toEqual([]);
  if (first === undefined) throw new TypeError('an import without rollouts throws');
  return first;
};
const messages = ({ notes }: RolloutImport['rollouts'][number], kind: string): string[] => notes.filter((note) => note.kind === kind).map(({ path, message }) => `${path}: ${message}`);

const ARGO_CANARY = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: { name: checkout, namespace: shop, annotations: { team: payments } }
spec:
  replicas: 6
  revisionHistoryLimit: 3
  progressDeadlineSeconds: 300
  restartAt: "2026-01-01T00:00:00Z"
  selector: { matchLabels: { app: checkout } }
  template:
    metadata: { labels: { app: checkout } }
    spec:
      containers:
        - { name: main, image: "registry.example/checkout:2.4.0", ports: [{ containerPort: 8080 }] }
        - { name: proxy, image: "registry.example/proxy:1.0.0" }
  strategy:
    canary:
      canaryService: checkout-canary
      stableService: checkout
      maxSurge: 1
      trafficRouting:
        istio:
          virtualService: { name: checkout, routes: [primary] }
      analysis:
        startingStep: 1
        templates: [{ templateName: success-rate }]
        args:
          - { name: service, value: checkout-canary.shop.svc.cluster.local }
      steps:
        - setWeight: 5
        - pause: { duration: 10m }
        - setCanaryScale: { weight: 25 }
        - setWeight: 20
        - pause: { duration: 90 }
        - pause: {}
        - setWeight: 50
        - analysis: { templates: [{ templateName: smoke }] }
        - pause: {}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: { name: success-rate, namespace: shop }
spec:
  args: [{ name: service }, { name: window, value: 2m }]
  metrics:
    - name: success-rate
      interval: 30s
      initialDelay: 1m
      failureLimit: 3
      successCondition: len(result) == 0 || result[0] >= 0.95
      provider:
        prometheus:
          address: http://prometheus.monitoring:9090
          query: |
            sum(rate(http_requests_total{service="{{args.service}}",code!~"5.."}[{{args.window}}])) / sum(rate(http_requests_total{service="{{args.service}}"}[{{args.window}}]))
    - name: error-logs
      provider: { datadog: { query: "avg:errors{*}" } }
      successCondition: result < 1
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: { name: smoke, namespace: shop }
spec:
  metrics:
    - name: smoke
      provider:
        job:
          spec: { backoffLimit: 1, activeDeadlineSeconds: 120, template: { spec: { restartPolicy: Never, containers: [{ name: main, image: "registry.example/smoke:2.4.0" }] } } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
`;

const ARGO_BLUE_GREEN = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: { name: web }
spec:
  workloadRef: { apiVersion: apps/v1, kind: Deployment, name: web-app }
  strategy:
    blueGreen:
      activeService: web
      previewService: web-preview
      autoPromotionEnabled: false
      scaleDownDelaySeconds: 600
      previewReplicaCount: 1
      prePromotionAnalysis: { templates: [{ templateName: health, clusterScope: true }] }
      postPromotionAnalysis: { templates: [{ templateName: latency }], args: [{ name: hash, valueFrom: { podTemplateHashValue: Latest } }] }
---
apiVersion: argoproj.io/v1alpha1
kind: ClusterAnalysisTemplate
metadata: { name: health }
spec:
  metrics:
    - name: ready
      provider: { web: { url: "https://web.example/status", jsonPath: "{$.queue.depth}" } }
      failureCondition: result > 100
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: { name: latency }
spec:
  args: [{ name: hash }]
  metrics:
    - { name: by-hash, interval: 1m, count: 5, successCondition: "result[0] < 0.5", provider: { prometheus: { query: 'avg(latency{pod=~"web-{{args.hash}}.*"})' } } }
    - { name: p99, interval: 1m, count: 5, successCondition: "result[0] < 0.5", provider: { prometheus: { query: "avg(latency)" } } }
`;

const FLAGGER = `
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: { name: podinfo, namespace: test }
spec:
  provider: istio
  targetRef: { apiVersion: apps/v1, kind: Deployment, name: podinfo }
  autoscalerRef: { apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: podinfo }
  progressDeadlineSeconds: 60
  service: { port: 9898, gateways: [istio-system/public], hosts: [app.example.com] }
  analysis:
    interval: 1m
    threshold: 5
    maxWeight: 50
    stepWeight: 20
    stepWeightPromotion: 50
    metrics:
      - { name: request-success-rate, thresholdRange: { min: 99 }, interval: 1m }
      - { name: not-found, templateRef: { name: not-found }, thresholdRange: { max: 5 }, interval: 2m }
      - { name: by-vendor, templateRef: { name: vendor }, thresholdRange: { max: 5 } }
    webhooks:
      - { name: gate, type: confirm-promotion, url: http://gate.test/approve }
      - { name: load, url: http://loadtester.test/, timeout: 5s, metadata: { cmd: "hey -z 1m http://podinfo-canary:9898/" } }
    alerts: [{ name: on-call, severity: error, providerRef: { name: slack } }]
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: { name: not-found, namespace: test }
spec:
  provider: { type: prometheus, address: "http://prometheus.istio-system:9090", secretRef: { name: login } }
  query: |
    100 - sum(rate(requests_total{namespace="{{ namespace }}",pod=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)",code!="404"}[{{ interval }}]))
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: { name: vendor, namespace: test }
spec: { provider: { type: datadog }, query: "avg:x{*}" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: podinfo, namespace: test }
spec: { template: { spec: { containers: [{ name: podinfod, image: "registry.example/podinfo:6.1" }] } } }
`;

describe('a Rollout of Argo', () => {
  it('with a canary becomes an input that can be started', () => {
    const imported = only(ARGO_CANARY);
    expect(imported).toMatchObject({ source: 'Rollout shop/checkout', format: 'argo-rollouts', open: [] });
    const approval = { required: 1, deadlineSeconds: 2_592_000 };
    expect(imported.input).toEqual({
      services: [{ name: 'checkout', namespace: 'shop', images: { main: 'registry.example/checkout:2.4.0', proxy: 'registry.example/proxy:1.0.0' }, service: 'checkout' }],
      waves: [{ name: 'all', clusters: ['production'] }],
      strategy: {
        kind: 'canary',
        traffic: { kind: 'istio', virtualService: 'checkout' },
        steps: [{ weight: 5, soakSeconds: 600 }, { weight: 20, soakSeconds: 90 }, { weight: 50, soakSeconds: 60, approval }, { weight: 100, approval }],
      },
      analysis: {
        intervalSeconds: 30,
        metrics: [
          {
            name: 'success-rate',
            failures: 4,
            source: { kind: 'prometheus', connection: 'prometheus', query: 'sum(rate(http_requests_total{service="checkout-hal9-next.shop.svc.cluster.local",code!~"5.."}[2m])) / sum(rate(http_requests_total{service="checkout-hal9-next.shop.svc.cluster.local"}[2m]))' },
            judge: { kind: 'threshold', below: 0.95 },
          },
          { name: 'smoke', source: { kind: 'job', timeoutSeconds: 120, template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'registry.example/smoke:2.4.0' }] } } } },
        ],
      },
      progressDeadlineSeconds: 300,
    });
    expect(rolloutInputSchema.safeParse(imported.input).success).toBe(true);
  });

  it('lists everything of it that HAL9 has nothing for, where it stands', () => {
    const imported = only(ARGO_CANARY);
    expect(messages(imported, 'lost')).toEqual([
      '/spec/metrics/1: error-logs: HAL9 does not ask datadog',
      '/spec/metrics/0/initialDelay: initialDelay has no counterpart in HAL9',
      '/spec/metrics/0/provider/job/spec/backoffLimit: backoffLimit has no counterpart in HAL9',
      '/spec/restartAt: restartAt has no counterpart in HAL9',
      '/spec/strategy/canary/maxSurge: maxSurge has no counterpart in HAL9',
      '/spec/strategy/canary/steps/2/setCanaryScale: setCanaryScale has no counterpart in HAL9',
    ]);
    const changed = messages(imported, 'changed').join('\n');
    for (const said of ['checkout-hal9-next, and removes it at the end', 'a pause without end becomes an approval', '"len(result) == 0": without data HAL9 never decides', 'failed looks count in a row']) expect(changed).toContain(said);
    expect(messages(imported, 'todo')).toEqual([
      '/spec: Make a Deployment checkout of template, replicas, selector, revisionHistoryLimit, and delete the Rollout when its pods are ready: HAL9 works on Deployments',
      '/spec/metrics/0/provider/prometheus/address: make a connection prometheus of kind http with the base URL http://prometheus.monitoring:9090',
    ]);
    expect(read(ARGO_CANARY).ignored).toEqual(['ConfigMap shop/settings']);
  });

  it('with blue and green keeps its gate and its analyses before and after the switch', () => {
    const imported = only(ARGO_BLUE_GREEN, { images: { main: 'web:2' } });
    expect(imported.open).toEqual([]);
    expect(imported.input).toMatchObject({
      services: [{ name: 'web', namespace: 'default', workload: 'web-app', service: 'web', images: { main: 'web:2' } }],
      strategy: { kind: 'blue-green', approval: { required: 1 }, soakSeconds: 300, scaleDownDelaySeconds: 600 },
      analysis: {
        intervalSeconds: 60,
        metrics: [
          { name: 'ready', when: 'before', source: { kind: 'http', url: 'https://web.example/status', value: '/queue/depth' }, judge: { kind: 'threshold', above: 100 } },
          { name: 'p99', judge: { kind: 'threshold', above: 0.5 } },
        ],
      },
    });
    const lost = messages(imported, 'lost').join('\n');
    expect(lost).toContain('by-hash: its argument hash is the hash of a pod template: use {{newPods}}');
    expect(lost).toContain('/spec/strategy/blueGreen/previewReplicaCount');
    expect(messages(imported, 'changed').join('\n')).toContain('exactly 0.5 passes in HAL9');
    expect(messages(imported, 'todo').join('\n')).toContain('Deployment web-app is not among the documents');
  });

  it('without images says what is open', () => {
    expect(only(ARGO_BLUE_GREEN).open).toEqual([{ path: '/services/0/images', message: 'name at least one container' }]);
  });

  it('falls back to replicas where traffic cannot be split, and says so', () => {
    const imported = only(ARGO_CANARY.replace(/istio:\n\s+virtualService: [^\n]+/, 'alb: { ingress: front, servicePort: 80 }'));
    expect(imported.input.strategy).not.toHaveProperty('traffic');
    expect(messages(imported, 'lost')).toContain('/spec/strategy/canary/trafficRouting/alb: alb has no counterpart in HAL9');
    expect(messages(imported, 'changed').join('\n')).toContain('HAL9 cannot split here: replicas do');
  });

  it('takes weights of nginx and of the Gateway API', () => {
    const routed = (routing: string) => only(ARGO_CANARY.replace(/istio:\n\s+virtualService: [^\n]+/, routing)).input.strategy;
    expect(routed('nginx: { stableIngress: front }')).toMatchObject({ traffic: { kind: 'nginx', ingress: 'front' } });
    expect(routed('plugins: { "argoproj-labs/gatewayAPI": { httpRoute: front, namespace: shop } }')).toMatchObject({ traffic: { kind: 'gateway', route: 'front' } });
  });
});

describe('a Canary of Flagger', () => {
  it('becomes a canary with its weights, gates and metrics', () => {
    const imported = only(FLAGGER);
    expect(imported).toMatchObject({ source: 'Canary test/podinfo', format: 'flagger', open: [] });
    expect(imported.input).toMatchObject({
      services: [{ name: 'podinfo', namespace: 'test', service: 'podinfo', images: { podinfod: 'registry.example/podinfo:6.1' } }],
      strategy: { kind: 'canary', traffic: { kind: 'istio', virtualService: 'podinfo' }, steps: [{ weight: 20, soakSeconds: 60 }, { weight: 40, soakSeconds: 60 }, { weight: 100, approval: { required: 1 } }] },
      progressDeadlineSeconds: 60,
    });
    expect(imported.input.analysis?.metrics).toEqual([
      { name: 'request-success-rate', failures: 5, source: { kind: 'prometheus', connection: 'prometheus', query: expect.stringContaining('destination_workload="podinfo-hal9-next",response_code!~"5.*"}[1m]') as string }, judge: { kind: 'threshold', below: 99 } },
      { name: 'not-found', failures: 5, source: { kind: 'prometheus', connection: 'prometheus', query: '100 - sum(rate(requests_total{namespace="{{namespace}}",pod=~"{{newPods}}",code!="404"}[2m]))' }, judge: { kind: 'threshold', above: 5 } },
    ]);
    expect(messages(imported, 'lost')).toEqual([
      '/spec/analysis/webhooks/1: load: HAL9 calls no webhook here (rollout); a metric with an http source or a Job checks, outgoing webhooks tell',
      '/spec/analysis/alerts: alerts: name a connection as `notify`, or have an outgoing webhook tell of runs',
      '/spec/analysis/metrics/2: by-vendor: HAL9 does not ask datadog',
      '/spec/analysis/stepWeightPromotion: stepWeightPromotion has no counterpart in HAL9',
    ]);
    expect(messages(imported, 'changed').join('\n')).toContain('gate: people approve before the promotion');
    expect(messages(imported, 'todo').join('\n')).toContain('delete the Canary');
  });

  it('without weights becomes blue and green; of several documents each is one rollout', () => {
    const testing = FLAGGER.replace('name: podinfo, namespace: test }\nspec:\n  provider: istio', 'name: other, namespace: test }\nspec:\n  provider: kubernetes').replace(/maxWeight: 50\n\s+stepWeight: 20/, 'iterations: 10\n    match: [{ headers: { x-canary: { exact: insider } } }]');
    const { rollouts } = read(`${FLAGGER}---${testing}`);
    expect(rollouts.map(({ source }) => source)).toEqual(['Canary test/podinfo', 'Canary test/other']);
    expect(rollouts[1]?.input).toMatchObject({ services: [{ name: 'other', workload: 'podinfo' }], strategy: { kind: 'blue-green', approval: { required: 1 } }, analysis: { metrics: [{ name: 'not-found', when: 'before' }] } });
    const notes = JSON.stringify(rollouts[1]?.notes);
    for (const said of ['not by headers or cookies', 'not 10 times', 'request-success-rate: what it asks of kubernetes is not known']) expect(notes).toContain(said);
  });

  it('with very small steps gets the fifty that a rollout may have', () => {
    const strategy = only(FLAGGER.replace('stepWeight: 20', 'stepWeight: 1').replace('maxWeight: 50', 'maxWeight: 100')).input.strategy;
    expect(strategy?.kind === 'canary' ? strategy.steps.map(({ weight }) => weight) : []).toEqual(Array.from({ length: 50 }, (_, index) => 2 * (index + 1)));
  });
});

describe('what is refused', () => {
  it('is no YAML, no rollout, or an alias bomb', () => {
    for (const text of ['', 'a: [', 'kind: ConfigMap', 'just a text', '- 1\n- 2']) expect(() => read(text), text).toThrow(expect.objectContaining({ type: 'InvalidInput' }) as Error);
    const bomb = ['a0: &a0 [x]', ...Array.from({ length: 12 }, (_, index) => `a${String(index + 1)}: &a${String(index + 1)} [${Array.from({ length: 10 }, () => `*a${String(index)}`).join(', ')}]`)].join('\n');
    expect(() => read(bomb)).toThrow(expect.objectContaining({ type: 'InvalidInput' }) as Error);
  });

  it('is nothing that is only odd: each odd field is a note', () => {
    const imported = only('apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: { name: odd }\nspec: { strategy: { canary: { steps: [3, { setWeight: many }, { setWeight: 0 }, { pause: soon }, null] } }, replicas: x, template: 7 }');
    expect(imported.input.strategy).toEqual({ kind: 'rolling' });
    expect(messages(imported, 'lost').join('\n')).toContain('/spec/strategy/canary/steps/1/setWeight: setWeight is not a number');
    expect(read('apiVersion: v1\nkind: List\nitems:\n- { apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: { name: listed }, spec: {} }').rollouts).toHaveLength(1);
  });
});

describe('conditions and times', () => {
  it.each([
    ['result[0] >= 0.95', 'success', { below: 0.95 }],
    ['result < 5', 'success', { above: 5, atEdge: [5] }],
    ['result[0] >= 0.9 && result[0] <= 1.1', 'success', { below: 0.9, above: 1.1 }],
    ['isNaN(result[0]) || result[0] >= 0.95', 'success', { below: 0.95, aboutNothing: ['isNaN(result[0])'] }],
    ['(len(result) == 0 || result[0] > 1e2)', 'success', { below: 100, atEdge: [100], aboutNothing: ['len(result) == 0'] }],
    ['result[0] >= 0.1', 'failure', { above: 0.1, atEdge: [0.1] }],
    ['result[0] > 10 || result[0] < -1', 'failure', { above: 10, below: -1 }],
    ['len(result) > 0 && result[0] > 3', 'failure', { above: 3, aboutNothing: ['len(result) > 0'] }],
    ['default(result[0], 0) <= 2', 'success', { above: 2 }],
    ['asFloat(result) > 1', 'failure', { above: 1 }],
  ] as const)('%s of a %s', (condition, says, limits) => {
    expect(limitsOf(condition, says)).toEqual({ aboutNothing: [], atEdge: [], ...limits });
  });

  it.each([['result == "ok"', 'success'], ['result[0] < 1 || result[0] > 5', 'success'], ['result[0] > 1 && result[0] > 5', 'success'], ['result[0] > 1 && result[0] < 5', 'failure'], ['all(result, # > 1)', 'success'], ['isNaN(result)', 'failure'], ['result[1] > 0', 'success']] as const)('%s of a %s is more than limits', (condition, says) => {
    expect(limitsOf(condition, says)).toBeUndefined();
  });

  it('reads times of Go and numbers of seconds', () => {
    expect([30, '30', '1h30m', '500ms', '1.5m'].map((text) => secondsOf(text))).toEqual([30, 30, 5400, 0.5, 90]);
    for (const wrong of ['soon', '1d', '', -1, null, {}]) expect(secondsOf(wrong)).toBeUndefined();
  });
});
