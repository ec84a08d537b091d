import { describe, expect, it } from 'vitest';
import { freezeAt } from '../../activities/kubernetes/freeze.ts';
import { judgeMeasurement } from '../../activities/kubernetes/judgement.ts';
import { imagesOf, nextDeployment, podPatterns, shapeOf } from '../../activities/kubernetes/workload.ts';
import type { Target } from '../../activities/kubernetes/activity-contract.ts';
import { metricJudgeSchema, rolloutInputSchema, type Freeze } from '../../schemas/operations/rollout.ts';
import { inOrder, replicasAt } from '../../workflows/rollout/standing.ts';

const compare = metricJudgeSchema.parse({ kind: 'compare' });
const sequential = metricJudgeSchema.parse({ kind: 'sequential' });
const times = (many: number, value: (index: number) => number): number[] => Array.from({ length: many }, (_, index) => value(index));

describe('judgeMeasurement', () => {
  const old = times(20, (index) => 10 + (index % 5));

  it('fails what is worse and passes what is not', () => {
    expect(judgeMeasurement(compare, { old, new: old.map((value) => value * 2) })).toMatchObject({ outcome: 'fail', statistic: { classification: 'High', meanRatio: 2 } });
    expect(judgeMeasurement(compare, { old, new: old.toReversed() }).outcome).toBe('pass');
  });

  it.each([
    ['nothing', { old, new: [] }, 'no data of the new version'],
    ['only NaN', { old, new: [Number.NaN, Infinity] }, 'no number among the 2 samples of the new version'],
    ['too few samples', { old, new: [1, 2, 3] }, '3 of 8 samples of the new version so far'],
    ['no traffic', { old, new: old, newExposure: [0, 0] }, 'the new version had no traffic'],
  ])('decides nothing on %s', (_, measured, reason) => {
    expect(judgeMeasurement(compare, measured)).toMatchObject({ outcome: 'inconclusive', reason });
  });

  it('holds thresholds against the mean of the newest samples', () => {
    const above = metricJudgeSchema.parse({ kind: 'threshold', above: 5, minimumSamples: 2 });
    expect(judgeMeasurement(above, { new: [100, 4, 5] })).toMatchObject({ outcome: 'pass', statistic: { mean: 4.5 } });
    expect(judgeMeasurement(above, { new: [1, 4, 9] })).toMatchObject({ outcome: 'fail', reason: '6.5 is above 5' });
    expect(judgeMeasurement(metricJudgeSchema.parse({ kind: 'threshold', below: 3 }), { new: [1] }).outcome).toBe('fail');
  });

  it('tests rare events as they come', () => {
    const exposure = times(30, () => 20);
    expect(judgeMeasurement(sequential, { old: times(30, () => 0), new: times(30, () => 1), oldExposure: exposure, newExposure: exposure }).outcome).toBe('fail');
    expect(judgeMeasurement(sequential, { old: times(30, () => 1), new: times(30, () => 0), oldExposure: exposure, newExposure: exposure }).outcome).toBe('pass');
    expect(judgeMeasurement(sequential, { old: [1], new: [1], oldExposure: [20], newExposure: [20] })).toMatchObject({ outcome: 'inconclusive' });
  });
});

describe('freezeAt', () => {
  const at = (time: string) => new Date(`2026-11-${time}:00Z`);
  const weekend: Freeze = { kind: 'weekly', days: ['fri'], from: '18:00', until: '08:00', timeZone: 'Europe/Berlin', reason: 'nobody is here' };

  it('knows dates', () => {
    const freeze = [{ kind: 'dates', from: '2026-11-26T00:00:00Z', until: '2026-11-30T00:00:00Z', reason: 'sale' }] as const;
    expect(freezeAt(freeze, at('27T12:00'))).toEqual({ until: '2026-11-30T00:00:00.000Z', reason: 'sale' });
    expect(freezeAt(freeze, at('30T00:00'))).toBeNull();
  });

  it('knows days of the week where they are, past midnight too', () => {
    expect(freezeAt([weekend], at('20T16:59'))).toBeNull();
    expect(freezeAt([weekend], at('20T17:00'))).toEqual({ until: '2026-11-21T07:00:00.000Z', reason: 'nobody is here' });
    expect(freezeAt([weekend], at('21T06:59'))).toMatchObject({ until: '2026-11-21T07:00:00.000Z' });
    expect(freezeAt([weekend], at('21T07:00'))).toBeNull();
    expect(freezeAt([{ ...weekend, from: '00:00', until: '24:00' }], at('20T12:00'))).toMatchObject({ until: '2026-11-20T23:00:00.000Z' });
  });
});

describe('replicasAt', () => {
  it.each([
    [20, 4, { next: 1, stable: 4 }],
    [50, 4, { next: 4, stable: 4 }],
    [80, 4, { next: 4, stable: 1 }],
    [99, 4, { next: 4, stable: 1 }],
    [100, 4, { next: 4, stable: 4 }],
    [1, 1, { next: 1, stable: 1 }],
  ])('%d %% of %d', (weight, replicas, expected) => {
    expect(replicasAt(weight, replicas)).toEqual(expected);
  });
});

describe('what runs beside', () => {
  const template = { metadata: { labels: { app: 'web', tier: 'front' } }, spec: { containers: [{ name: 'main', image: 'web:1', futureField: { kept: true } }, { name: 'log', image: 'log:1' }] } };
  const target = { cluster: 'c', service: 'web', namespace: 'shop', kind: 'Deployment', name: 'web', uid: 'u', replicas: 3, from: { main: 'web:1' }, to: { main: 'web:2' }, shape: '', front: { name: 'web', selector: { app: 'web' } }, strategy: { kind: 'blue-green', soakSeconds: 0, scaleDownDelaySeconds: 0 }, isReturn: false } as const satisfies Target;
  const workload = { spec: { replicas: 3, selector: { matchLabels: { app: 'web' } }, template } };

  it('is a copy with the new images and fields nobody here knows, out of sight of the Service', () => {
    expect(nextDeployment(target, workload, 2)).toMatchObject({
      metadata: { name: 'web-hal9-next' },
      spec: { replicas: 2, template: { metadata: { labels: { app: 'web-hal9-next', tier: 'front', 'hal9.ai/next-of': 'web' } }, spec: { containers: [{ name: 'main', image: 'web:2', futureField: { kept: true } }, { name: 'log', image: 'log:1' }] } } },
    });
    expect(nextDeployment({ ...target, strategy: { kind: 'canary', steps: [] } }, workload, 2)).toMatchObject({ spec: { template: { metadata: { labels: { app: 'web' } } } } });
  });

  it('is told apart by names of pods, and edits by the digest of the template', () => {
    const { oldPods, newPods } = podPatterns(target);
    const isOld = (name: string): boolean => new RegExp(`^(?:${oldPods})$`).test(name);
    expect([isOld('web-56bc84c78-gfczj'), isOld('web-hal9-next-56bc84c78-gfczj'), new RegExp(`^(?:${newPods})$`).test('web-hal9-next-56bc84c78-gfczj')]).toEqual([true, false, true]);
    const renamed = { ...template, spec: { containers: [{ name: 'main', image: 'web:9', futureField: { kept: true } }, { name: 'log', image: 'log:1' }] } };
    expect(shapeOf(renamed, ['main'])).toBe(shapeOf(template, ['main']));
    expect(shapeOf(renamed, [])).not.toBe(shapeOf(template, []));
    expect(imagesOf(template, ['main', 'other'])).toEqual({ main: 'web:1', other: undefined });
  });
});

describe('the input of a rollout', () => {
  const one = { name: 'web', images: { main: 'web:2' } };
  const waves = [{ name: 'all', clusters: ['c'] }];
  const problems = (input: object): string[] => rolloutInputSchema.safeParse(input).error?.issues.map(({ path, message }) => `${path.join('/')}: ${message}`) ?? [];

  it('puts services after those they wait for', () => {
    const { services } = rolloutInputSchema.parse({ services: [{ ...one, after: ['ledger'] }, { ...one, name: 'mail' }, { ...one, name: 'ledger' }], waves });
    expect(inOrder(services).map(({ name }) => name)).toEqual(['mail', 'ledger', 'web']);
  });

  it.each([
    ['a circle', { services: [{ ...one, after: ['b'] }, { ...one, name: 'b', after: ['web'] }], waves }, 'services: the services wait for each other in a circle'],
    ['a name twice', { services: [one, one], waves }, 'services/1/name: there are two services named web'],
    ['a stranger to wait for', { services: [{ ...one, after: ['x'] }], waves }, 'services/0/after: x is no other service of this rollout'],
    ['a StatefulSet as canary', { services: [{ ...one, kind: 'StatefulSet' }], waves, strategy: { kind: 'canary', steps: [{ weight: 5 }] } }, 'services/0/strategy: a StatefulSet is rolled: its pods have names of their own'],
    ['blue-green without a Service', { services: [one], waves, strategy: { kind: 'blue-green' } }, 'services/0/service: is needed to switch or split traffic'],
    ['weights that fall', { services: [one], waves, strategy: { kind: 'canary', steps: [{ weight: 50 }, { weight: 20 }] } }, 'services/0/strategy: weights only rise'],
    ['a cluster twice', { services: [one], waves: [...waves, ...waves] }, 'waves: a cluster is in two waves'],
    ['a comparison without a baseline', { services: [one], waves, analysis: { metrics: [{ name: 'm', source: { kind: 'prometheus', connection: 'p', query: 'x' }, judge: { kind: 'compare' } }] } }, 'analysis/metrics/0/judge: comparing needs a Prometheus query with a baseline'],
  ])('refuses %s', (_, input, message) => {
    expect(problems(input)).toContain(message);
  });
});
