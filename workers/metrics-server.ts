import { createServer, type Server } from 'node:http';
import { register, type Registry } from 'prom-client';

/** Answers whether one dependency works; rejects or throws with the reason when not. */
export type HealthCheck = (signal: AbortSignal) => Promise<void>;

const CHECK_MS = 2_000;

export interface MetricsServerOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly registry: Registry;
  /** Port on loopback where Temporal's core serves its own metrics; undefined without a worker. */
  readonly corePort: number | undefined;
  readonly checks: ReadonlyMap<string, HealthCheck>;
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** `/metrics` (ours and those of Temporal's core in one page), `/healthz` (the process runs), `/readyz` (each dependency named). */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
    };
    const serve = async (): Promise<void> => {
      switch (request.url) {
        case '/metrics':
          return answer(200, options.registry.contentType, (await options.registry.metrics()) + (await register.metrics()) + (await coreMetrics(options.corePort)));
        case '/healthz':
          return answer(200, 'application/json', JSON.stringify({ status: 'ok' }));
        case '/readyz': {
          const dependencies = await runChecks(options.checks);
          const ready = Object.values(dependencies).every((state) => state === 'ok');
          return answer(ready ? 200 : 503, 'application/json', JSON.stringify({ status: ready ? 'ok' : 'unavailable', dependencies }));
        }
        default:
          return answer(404, 'text/plain', 'not found');
      }
    };
    serve().catch((error: unknown) => answer(500, 'text/plain', error instanceof Error ? error.message : String(error)));
  });
  await listen(server, options.host, options.port);
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the metrics server has no port');
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function runChecks(checks: ReadonlyMap<string, HealthCheck>): Promise<Record<string, string>> {
  const results = [...checks].map(async ([name, check]) => {
    const signal = AbortSignal.timeout(CHECK_MS);
    const late = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(new Error('no answer in time'))));
    try {
      await Promise.race([check(signal), late]);
      return [name, 'ok'];
    } catch (error) {
      return [name, error instanceof Error ? error.message : String(error)];
    }
  });
  return Object.fromEntries(await Promise.all(results));
}

/** Empty while the core does not answer: our own metrics must still be read. */
async function coreMetrics(port: number | undefined): Promise<string> {
  if (port === undefined) return '';
  try {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(CHECK_MS) });
    return await response.text();
  } catch (error) {
    return `# Temporal's core gave no metrics: ${error instanceof Error ? error.name : 'error'}\n`;
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}
