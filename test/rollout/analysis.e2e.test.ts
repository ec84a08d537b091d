import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { hasCluster, startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { findPrometheus, PROMETHEUS_MISSING, startPrometheus, type Prometheus, type PrometheusTools } from '../environment/prometheus.ts';
import { rolloutBench, type RolloutBench } from './rollout-bench.ts';
import { Shop } from './shop.ts';

const prometheusTools = await findPrometheus();
if (prometheusTools === undefined) console.log(PROMETHEUS_MISSING);
const present = (await hasCluster()) && prometheusTools !== undefined;
it.runIf(process.env['CI'] === 'true')('has a Prometheus to ask', () => expect(prometheusTools).toBeDefined());

const WAVE = [{ name: 'all', clusters: ['cluster'] }];
const LATENCY = {
  name: 'latency',
  source: { kind: 'prometheus', connection: 'prometheus', query: 'avg(latency_ms{version="new"})', baseline: 'avg(latency_ms{version="old"})', stepSeconds: 1 },
  judge: { kind: 'compare', minimumSamples: 5 },
};

/** Many real processes share the machine with whatever else runs. */
const PATIENCE_MS = 300_000;

describe.skipIf(!present)('the analysis of a rollout', { timeout: PATIENCE_MS }, () => {
  let test: TestDatabase;
  let cluster: ControlPlane;
  let bench: RolloutBench;
  let shop: Shop;
  let folder: string;
  let prometheus: Prometheus;
  let exporter: Server;
  /** Latency of the new version, as times that of the old; requests it gets. */
  const behaviour = { times: 1, requests: 50 };
  let scrapes = 0;
  let tries = 0;
  const service = (name: string, image: string) => ({ name, namespace: shop.namespace, service: name, images: { main: image } });
  const canary = (soakSeconds: number) => ({ kind: 'canary', steps: [{ weight: 25, soakSeconds }] });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-analysis-'));
    exporter = createServer((_, response) => {
      scrapes += 1;
      const noise = (offset: number): number => 1 + 0.1 * Math.sin(scrapes * 1.7 + offset);
      response.end(`latency_ms{version="old"} ${100 * noise(0)}\nlatency_ms{version="new"} ${100 * behaviour.times * noise(2)}\nrequests{version="new"} ${behaviour.requests}\n`);
    });
    const port = await freePort();
    await new Promise<void>((resolve) => exporter.listen(port, '127.0.0.1', resolve));
    const tools = prometheusTools as PrometheusTools;
    const prometheusFolder = join(folder, 'prometheus');
    await mkdir(prometheusFolder);
    prometheus = await startPrometheus(tools, prometheusFolder, `global: { scrape_interval: 500ms }\nscrape_configs: [{ job_name: shop, static_configs: [{ targets: ['127.0.0.1:${port}'] }] }]\n`);
    [test, cluster] = await Promise.all([createTestDatabase(), startControlPlane()]);
    bench = await rolloutBench(inject('temporalAddress'), test, cluster);
    await bench.connect('prometheus', { kind: 'http', baseUrl: prometheus.url, headers: {} });
    await bench.connect('nobody', { kind: 'http', baseUrl: `http://127.0.0.1:${await freePort()}`, headers: {} });
    shop = await Shop.open(cluster, 'shop');
  }, PATIENCE_MS);
  afterAll(async () => {
    await bench?.stop();
    await prometheus?.stop();
    await cluster?.stop();
    await test?.drop();
    await new Promise((resolve) => exporter?.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  it('promotes a version that is no worse, after its metrics, an HTTP check and a Job', async () => {
    behaviour.times = 1;
    await shop.sells('good');
    const metrics = [
      LATENCY,
      { name: 'health', when: 'before', source: { kind: 'http', url: `${prometheus.url}/-/healthy` } },
      { name: 'smoke', when: 'after', source: { kind: 'job', template: { spec: { containers: [{ name: 'main', image: 'shop/smoke:passing' }] } } } },
    ];
    const result = await (await bench.start({ services: [service('good', 'shop/good:2')], waves: WAVE, strategy: canary(7), analysis: { intervalSeconds: 1, metrics, patience: 30 } })).result();
    expect(result).toMatchObject({ outcome: 'promoted' });
    expect(new Set(result.verdicts.filter(({ outcome }) => outcome === 'pass').map(({ metric }) => metric))).toEqual(new Set(['latency', 'health', 'smoke']));
    expect(result.verdicts[0]).toMatchObject({ outcome: 'inconclusive', metric: 'latency' });
  });

  it('rolls a worse version back, and keeps what the verdict rests on', async () => {
    behaviour.times = 2;
    await shop.sells('slow');
    const run = await bench.start({ services: [service('slow', 'shop/slow:2')], waves: WAVE, strategy: canary(600), analysis: { intervalSeconds: 1, metrics: [LATENCY] } });
    const result = await run.result();
    expect(result).toMatchObject({ outcome: 'rolled-back', cause: { code: 'analysis-failed', service: 'slow' }, units: [{ state: 'old' }] });
    const verdict = result.verdicts.at(-1);
    expect(verdict).toMatchObject({ outcome: 'fail', step: 'canary 25 %', queries: { new: 'avg(latency_ms{version="new"})', old: 'avg(latency_ms{version="old"})' }, statistic: { classification: 'High', delta: 1 }, threshold: { confidence: 0.98, tolerance: 0.25 } });
    expect(verdict?.samples['new']?.length).toBeGreaterThanOrEqual(5);
    // The record has each of them as the run went by it, the newest first.
    expect(await run.verdicts()).toMatchObject(result.verdicts.toReversed().map(({ at, ...verdict }) => ({ ...verdict, at: new Date(at) })));
    expect(await shop.image('slow')).toBe('shop/slow:1');
    await expect.poll(() => shop.deployments()).not.toContain('slow-hal9-next');
  });

  it('rolls back when a Job fails, and when an HTTP check does', async () => {
    await shop.sells('checked');
    const failing = { name: 'smoke', when: 'before', source: { kind: 'job', template: { spec: { containers: [{ name: 'main', image: 'shop/smoke:failing' }] } } } };
    const run = await bench.start({ services: [service('checked', 'shop/checked:2')], waves: WAVE, strategy: { kind: 'blue-green' }, analysis: { intervalSeconds: 1, metrics: [failing] } });
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'analysis-failed' }, verdicts: [{ outcome: 'fail', reason: 'the Job failed: BackoffLimitExceeded' }] });
    const absent = { name: 'page', when: 'after', source: { kind: 'http', url: `${prometheus.url}/no-such-page` } };
    const second = await bench.start({ services: [service('checked', 'shop/checked:2')], waves: WAVE, analysis: { intervalSeconds: 1, metrics: [absent] } });
    expect(await second.result()).toMatchObject({ outcome: 'rolled-back', reason: 'page: HTTP 404', units: [{ state: 'old' }] });
    expect(await shop.image('checked')).toBe('shop/checked:1');
  });

  it('lets a neuron of the organisation judge, and waits for people while it cannot answer', async () => {
    behaviour.times = 1;
    await shop.sells('guarded');
    await bench.teach('guard', { kind: 'rules', rules: [{ when: 'true', emit: { type: 'shop.verdict', data: '{"outcome": signal.data.metrics["health"].outcome, "score": 1.0, "reason": "the page is well"}' } }] });
    await bench.teach('away', { kind: 'http', url: `http://127.0.0.1:${await freePort()}/`, timeoutSeconds: 5, rules: [{ when: 'true', emit: { type: 'shop.verdict', data: '{"outcome": "pass"}' } }], fallback: [{ when: 'true', emit: { type: 'shop.verdict', data: '{"outcome": "pass"}' } }] });
    const health = { name: 'health', when: 'before', source: { kind: 'http', url: `${prometheus.url}/-/healthy` } };
    const judged = (neuron: string) => ({ name: neuron, when: 'before', source: { kind: 'neuron', neuron } });
    const rollout = (metrics: object[]) => ({ services: [service('guarded', 'shop/guarded:2')], waves: WAVE, strategy: { kind: 'blue-green', soakSeconds: 0, scaleDownDelaySeconds: 0 }, analysis: { intervalSeconds: 1, metrics, patience: 0 } });
    expect(await (await bench.start({ ...rollout([judged('guard'), health]), dryRun: true })).result()).toMatchObject({ outcome: 'planned', plan: expect.arrayContaining(['judged by guard (neuron guard), before all traffic goes over']) as string[] });
    expect(await (await bench.start(rollout([judged('nobody')]))).result()).toMatchObject({ outcome: 'refused', reason: 'nobody: the neuron is not there', cause: { code: 'neuron-unusable' } });
    const waiting = await bench.start(rollout([judged('away'), health]));
    await expect.poll(async () => (await waiting.standing()).waitingFor).toContain('no verdict but by fallback rules');
    await waiting.decide('abort');
    expect(await waiting.result()).toMatchObject({ outcome: 'rolled-back', units: [{ state: 'old' }] });
    const run = await bench.start(rollout([judged('guard'), health]));
    expect(await run.result()).toMatchObject({ outcome: 'promoted', verdicts: [{ metric: 'health', outcome: 'pass' }, { metric: 'guard', outcome: 'pass', reason: 'the page is well', statistic: { answer: 'pass', score: 1 } }] });
    expect((await run.verdicts()).map(({ metric }) => metric).sort()).toEqual(['guard', 'health']);
    await bench.record(run, 'judged-by-neuron');
  });

  it('never promotes on what decides nothing: it waits for people, with the reason', async () => {
    behaviour.times = 1;
    // A second try needs Deployments of its own.
    tries += 1;
    const newest = 'avg(latency_ms{version="new"})';
    const cases = {
      'no-data': [{ query: 'latency_ms{version="nobody"}' }, 'no data of the new version'],
      'not-a-number': [{ query: `${newest} * NaN` }, 'no number among'],
      'many-series': [{ query: 'latency_ms' }, 'aggregate them into one'],
      'no-query': [{ query: 'avg(' }, 'could not be asked'],
      'no-traffic': [{ query: newest, exposure: 'sum(requests{version="new"}) * 0' }, 'no traffic'],
      'prometheus-down': [{ query: newest, connection: 'nobody' }, 'the connection was refused'],
    } as const;
    await Promise.all(
      Object.entries(cases).map(async ([kind, [source, reason]]) => {
        const name = `${kind}-${tries}`;
        await shop.sells(name);
        const metric = { ...LATENCY, judge: { kind: 'threshold', above: 1000 }, source: { kind: 'prometheus', connection: 'prometheus', stepSeconds: 1, ...source } };
        const run = await bench.start({ services: [service(name, 'shop/quiet:2')], waves: WAVE, strategy: canary(1), analysis: { intervalSeconds: 1, metrics: [metric], patience: 0 } });
        // Six rollouts at once on a shared machine.
        await expect.poll(() => run.standing(), { timeout: PATIENCE_MS / 2 }).toMatchObject({ waitingFor: expect.stringContaining(reason) as string });
        expect(await shop.image(name)).toBe(`shop/${name}:1`);
        if (kind === 'prometheus-down') {
          await run.decide('abort');
          expect(await run.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'aborted' } });
        } else {
          await run.decide('promote', 'seen by hand');
          expect(await run.result()).toMatchObject({ outcome: 'promoted' });
        }
      }),
    );
  });
});
