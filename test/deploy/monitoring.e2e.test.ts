import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { findPrometheus, PROMETHEUS_MISSING, startPrometheus, type PrometheusTools } from '../environment/prometheus.ts';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

const dashboards = async (): Promise<{ file: string; uid: string; panels: Panel[] }[]> =>
  Promise.all((await readdir(join(ROOT, 'deploy/dashboards'))).map(async (file) => ({ file, ...(JSON.parse(await readFile(join(ROOT, 'deploy/dashboards', file), 'utf8')) as { uid: string; panels: Panel[] }) })));

/** The expressions of the alerts, as promtool prints nothing of them: a line each by convention. */
const alertLines = async (key: string): Promise<string[]> => [...(await readFile(join(ROOT, 'deploy/alerts/hal9.yaml'), 'utf8')).matchAll(new RegExp(`^ +(?:- )?${key}: (.+)$`, 'gm'))].map(([, value = '']) => value);

describe('dashboard and alerts, against a running stack and a real Prometheus', async () => {
  const tools = await findPrometheus();
  if (tools === undefined) process.stderr.write(`${PROMETHEUS_MISSING}\n`);
  it.runIf(tools === undefined && process.env['CI'] !== undefined)('has a Prometheus', () => expect.fail(PROMETHEUS_MISSING));
  const known: PrometheusTools = tools ?? { prometheus: '', promtool: '' };
  let folder = '';
  let stack: Stack;
  let metrics = new Map<string, string>();

  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const response = await fetch(`${stack.url}${path}`, { method, headers: { Authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'Content-Type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  };
  const scrape = async (): Promise<Map<string, string>> => {
    const ports = JSON.parse(await readFile(join(folder, 'data/ports.json'), 'utf8')) as Record<string, number>;
    const addresses = { 'hal9-api': [stack.url], 'hal9-worker': ['core-1', 'dispatcher', 'host'].map((name) => `http://127.0.0.1:${ports[`${name}-metrics`] ?? 0}`) };
    const found = new Map<string, string>();
    for (const [job, urls] of Object.entries(addresses)) for (const url of urls) for (const [, name = ''] of (await (await fetch(`${url}/metrics`)).text()).matchAll(/^# TYPE (\w+) /gm)) found.set(name, job);
    return found;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-monitoring-'));
    await chmod(folder, 0o755);
    stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_OPERATIONS: join(ROOT, 'test/fixtures/operations-project') } });
    // Temporal's core names some metrics only once they happened: a run that ends well, one that fails, and a signal.
    const { runId } = await call('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada' } });
    const failed = await call('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', fail: true } });
    await call('POST', '/v1/signals', { specversion: '1.0', id: '1', source: 'test', type: 'test.signal', data: {} });
    for (const id of [runId, failed['runId']]) await call('GET', `/v1/runs/${encodeURIComponent(String(id))}/result?waitSeconds=60`);
    await vi.waitFor(async () => {
      metrics = await scrape();
      const missing = ['temporal_workflow_failed_total', 'temporal_workflow_completed_total', 'temporal_activity_execution_failed_total'].filter((name) => !metrics.has(name));
      if (missing.length > 0) throw new Error(`not measured yet: ${missing.join(', ')}`);
    }, { interval: 250 });
  });
  afterAll(async () => {
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Names of metrics and of routes in an expression (PromQL). */
  const named = (expression: string): string[] => [...expression.matchAll(/\b(?:hal9|temporal)_[a-z0-9_]+/g)].map(([name]) => (metrics.has(name) ? name : name.replace(/_(bucket|count|sum)$/, '')));
  const routesIn = (expression: string): string[] => [...expression.matchAll(/route!?[=~]+"([^"]+)"/g)].flatMap(([, routes = '']) => routes.split('|'));

  it('asks only for metrics and routes that a running stack has', async () => {
    const routes = new Set(Object.values(((await call('GET', '/openapi.json'))['paths'] ?? {}) as Record<string, Record<string, { operationId?: string }>>).flatMap((path) => Object.values(path).map(({ operationId }) => operationId)));
    const all = await dashboards();
    expect(all.map(({ uid }) => uid)).toEqual(['hal9-platform']);
    for (const { file, panels } of all) {
      expect(panels.filter(({ targets = [] }) => targets.length > 0).length, file).toBeGreaterThan(30);
      for (const { title, targets = [] } of panels) {
        for (const { expr } of targets) {
          for (const name of named(expr)) expect(metrics.has(name), `${file}, ${title}: ${name}`).toBe(true);
          for (const route of routesIn(expr)) expect(routes.has(route), `${file}, ${title}: the route ${route}`).toBe(true);
        }
      }
    }
    const expressions = await alertLines('expr');
    expect(expressions.length).toBeGreaterThan(15);
    for (const expression of expressions) {
      for (const name of named(expression)) expect(metrics.has(name), `${expression}: ${name}`).toBe(true);
      for (const route of routesIn(expression)) expect(routes.has(route), `${expression}: the route ${route}`).toBe(true);
    }
  });

  it('places panels beside each other, none over another, each with a number of its own', async () => {
    for (const { file, panels } of await dashboards()) {
      expect(new Set(panels.map(({ id }) => id)).size, file).toBe(panels.length);
      const taken = new Map<string, string>();
      for (const { title, gridPos: { x, y, w, h } } of panels) {
        expect(x + w, title).toBeLessThanOrEqual(24);
        for (let column = x; column < x + w; column += 1) for (let line = y; line < y + h; line += 1) {
          expect(taken.get(`${column} ${line}`), `${title} lies over another`).toBeUndefined();
          taken.set(`${column} ${line}`, title);
        }
      }
    }
  });

  it('has a page that says what to do for every alert', async () => {
    const [names, pages] = await Promise.all([alertLines('alert'), alertLines('runbook_url')]);
    expect(pages).toHaveLength(names.length);
    for (const [index, page] of pages.entries()) {
      const [file = '', anchor] = page.split('#');
      const headings = [...(await readFile(join(ROOT, file), 'utf8')).matchAll(/^## (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase());
      expect(headings, page).toContain(anchor);
      expect(anchor).toBe(names[index]?.toLowerCase());
    }
  });

  it.skipIf(tools === undefined)('has alerts that promtool takes, each quiet first and firing when it should', async () => {
    await expect(run(known.promtool, ['check', 'rules', join(ROOT, 'deploy/alerts/hal9.yaml')])).resolves.toMatchObject({ stdout: expect.stringMatching(/SUCCESS/) as string });
    await expect(run(known.promtool, ['check', 'config', join(ROOT, 'deploy/alerts/prometheus.yaml')])).resolves.toMatchObject({ stdout: expect.stringMatching(/SUCCESS/) as string });
    const tests = join(ROOT, 'test/deploy/alerts.yaml');
    const [names, tested] = await Promise.all([alertLines('alert'), readFile(tests, 'utf8')]);
    expect(names.filter((name) => !tested.includes(`alertname: ${name}\n`))).toEqual([]);
    await expect(run(known.promtool, ['test', 'rules', tests]).then(({ stdout }) => stdout, (error: { stdout: string; stderr: string }) => `${error.stdout}${error.stderr}`)).resolves.toMatch(/SUCCESS/);
  });

  it.skipIf(tools === undefined)('is scraped by a real Prometheus: all targets up, every panel a valid query, no alert on a healthy stack', async () => {
    const place = join(folder, 'prometheus');
    await mkdir(place);
    await cp(join(ROOT, 'deploy/alerts/hal9.yaml'), join(place, 'hal9.yaml'));
    const ports = JSON.parse(await readFile(join(folder, 'data/ports.json'), 'utf8')) as Record<string, number>;
    const workers = ['core-1', 'dispatcher', 'host'].map((name) => `'127.0.0.1:${ports[`${name}-metrics`] ?? 0}'`);
    const shipped = await readFile(join(ROOT, 'deploy/alerts/prometheus.yaml'), 'utf8');
    const config = shipped.replaceAll('15s', '1s').replace("'127.0.0.1:8090'", `'${new URL(stack.url).host}'`).replace(/'127\.0\.0\.1:9464'.*\]/, `${workers.join(', ')}]`);
    const prometheus = await startPrometheus(known, place, config);
    try {
      await expect.poll(async () => (await prometheus.query('sum by (job) (up)')).map(({ metric, value }) => `${metric['job']} ${value}`).sort()).toEqual(['hal9-api 1', 'hal9-worker 3']);
      expect(await prometheus.query('hal9_signals_accepted_total > 0')).toHaveLength(1);
      for (const { panels } of await dashboards()) {
        for (const { title, targets = [] } of panels) {
          for (const { expr } of targets) await expect(prometheus.query(expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'hal9-.*')), title).resolves.toBeInstanceOf(Array);
        }
      }
      const rules = async (): Promise<{ name: string; health: string }[]> => ((await prometheus.api('rules')) as { groups: { rules: { name: string; health: string }[] }[] }).groups.flatMap((group) => group.rules);
      await expect.poll(async () => (await rules()).filter(({ health }) => health !== 'ok')).toEqual([]);
      expect((await rules()).map(({ name }) => name).sort()).toEqual((await alertLines('alert')).sort());
      expect(await prometheus.query('ALERTS{alertstate="firing"}')).toEqual([]);
    } finally {
      await prometheus.stop();
    }
  });
});
