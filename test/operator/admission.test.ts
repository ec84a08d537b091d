import { describe, expect, it } from 'vitest';
import { judge } from '../../deploy/operator/admission.ts';
import type { Cluster } from '../../deploy/operator/cluster.ts';
import { desiredObjects } from '../../deploy/operator/desired.ts';
import { statusOf } from '../../deploy/operator/status.ts';

const layer = { replicas: 1, resources: {}, autoscaling: { enabled: false, minReplicas: 20, maxReplicas: 100, targetCpuPercent: 70 } };
const cluster = (spec: Partial<Cluster['spec']> = {}, metadata: Partial<Cluster['metadata']> = {}): Cluster => ({
  apiVersion: 'hal9.ai/v1',
  kind: 'HAL9Cluster',
  metadata: { name: 'hal9', namespace: 'one', uid: 'u', generation: 2, ...metadata },
  spec: { image: 'hal9:1', serviceAccountName: 'default', settings: { secret: 'hal9' }, neurons: { L4: layer, L3: layer, L2: layer }, claude: { mode: 'live', costLimit: 10, replicas: 1 }, monitoring: { enabled: true, prometheusOperator: false }, network: { egressPorts: [5432] }, ...spec },
});
const around = { others: [], settings: undefined, secret: true };

describe('the judgement of a HAL9Cluster', () => {
  it('lets the elder one of a namespace be, and the first by name where both came at once', () => {
    const [elder, younger] = [cluster({}, { name: 'b', creationTimestamp: '2026-01-01T00:00:00Z' }), cluster({}, { name: 'a', creationTimestamp: '2026-01-02T00:00:00Z' })];
    expect(judge(elder, { ...around, others: [younger] }).refusal).toBeUndefined();
    expect(judge(younger, { ...around, others: [elder] }).refusal).toContain('b serves the queues of this namespace already');
    const twin = cluster({}, { name: 'c', creationTimestamp: '2026-01-01T00:00:00Z' });
    expect([judge(elder, { ...around, others: [twin] }).refusal, judge(twin, { ...around, others: [elder] }).refusal].map((refusal) => refusal === undefined)).toEqual([true, false]);
  });

  it('warns of what pods would wait for and of a limit that lets nothing through', () => {
    expect(judge(cluster({ settings: { configMap: 'c', secret: 's' } }), { ...around, secret: false }).warnings).toEqual(['there is no ConfigMap c: pods wait for it', 'there is no Secret s: pods wait for it']);
    expect(judge(cluster({ settings: {}, claude: { mode: 'live', costLimit: 0, replicas: 1 } }), around).warnings).toHaveLength(2);
    expect(judge(cluster(), around)).toEqual({ warnings: [] });
  });
});

describe('what is wished for a HAL9Cluster', () => {
  const surroundings = { settingsVersion: '1', serviceMonitors: false };
  const wish = (objects: ReturnType<typeof desiredObjects>, name: string): unknown => objects.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name)?.metadata.annotations?.['hal9.ai/wish'];

  it('is the same for the same, and pods are replaced when their settings change', () => {
    expect(desiredObjects(cluster(), surroundings)).toEqual(desiredObjects(cluster(), surroundings));
    expect(wish(desiredObjects(cluster(), surroundings), 'hal9-l2')).not.toBe(wish(desiredObjects(cluster(), { ...surroundings, settingsVersion: '2' }), 'hal9-l2'));
  });

  it('splits the bounds of an autoscaler over regions, so that they add up', () => {
    const neurons = { L4: layer, L3: layer, L2: { ...layer, replicas: 28, autoscaling: { ...layer.autoscaling, enabled: true, backlog: { metric: 'backlog', perPod: 50 } } } };
    const objects = desiredObjects(cluster({ neurons, regions: [{ name: 'a', pods: 20 }, { name: 'b', pods: 10 }] }), surroundings);
    const bounds = objects.flatMap(({ kind, spec }) => (kind === 'HorizontalPodAutoscaler' ? [[spec?.['minReplicas'], spec?.['maxReplicas']] as [number, number]] : []));
    expect(bounds).toHaveLength(2);
    expect(bounds.reduce(([least, most], [min, max]) => [least + min, most + max], [0, 0])).toEqual([20, 100]);
    expect(JSON.stringify(objects)).toContain('"selector":{"matchLabels":{"taskqueue":"neurons-l2"}}');
  });
});

describe('the status of a HAL9Cluster', () => {
  const workload = (ready: number) => ({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'hal9-l2', generation: 1, labels: { 'hal9.ai/queue': 'neurons-l2' } }, spec: { replicas: 2 }, status: { observedGeneration: 1, updatedReplicas: 2, availableReplicas: ready } });
  const ready = (status: ReturnType<typeof statusOf>) => status.conditions?.find(({ type }) => type === 'Ready');

  it('keeps the time of a condition while it lasts', () => {
    const situation = { workloads: [workload(2)], missing: [], serviceMonitors: false };
    const first = statusOf(cluster(), situation, '2026-01-01T00:00:00Z');
    expect([first.pods, ready(first)]).toMatchObject(['2/2', { status: 'True', reason: 'AllPodsReady', observedGeneration: 2 }]);
    const then = { ...cluster(), status: { ...first } };
    expect(ready(statusOf(then, situation, '2026-01-02T00:00:00Z'))?.lastTransitionTime).toBe('2026-01-01T00:00:00Z');
    expect(ready(statusOf(then, { ...situation, workloads: [workload(1)] }, '2026-01-02T00:00:00Z'))).toMatchObject({ status: 'False', reason: 'PodsNotReady', message: 'waiting for hal9-l2', lastTransitionTime: '2026-01-02T00:00:00Z' });
  });

  it('says first what people can do something about', () => {
    const refused = statusOf(cluster(), { workloads: [], missing: ['there is no Secret s: pods wait for it'], serviceMonitors: false, refusal: { reason: 'Refused', message: 'no' } }, '2026-01-01T00:00:00Z');
    expect(ready(refused)).toMatchObject({ reason: 'Refused', message: 'no' });
    expect(ready(statusOf(cluster(), { workloads: [workload(2)], missing: ['there is no Secret s: pods wait for it'], serviceMonitors: false }, '2026-01-01T00:00:00Z'))).toMatchObject({ reason: 'SettingsMissing' });
  });
});
