import { join } from 'node:path';
import { hostIdOf } from '../../activities/host/index.ts';
import { Database } from '../../database/database.ts';
import { migrate } from '../../database/migrate.ts';
import { loadConfig, type Config } from '../../platform/config/config.ts';
import { databaseTls } from '../../platform/database/connect.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { bootstrap, type FirstOrganisation } from '../../platform/identity/bootstrap.ts';
import { collectorKey, type Collector } from './collector-key.ts';
import { DataFolder } from './data-folder.ts';
import { LogFile } from './log-file.ts';
import { demandPort, preferPort } from './ports.ts';
import { assertPostgres, assertTemporal } from './external-databases.ts';
import { preparePostgres } from './postgres.ts';
import { identify } from './process-identity.ts';
import { StackHealth } from './stack-health.ts';
import { ALL_PROCESSES, halProcess, type ProcessKind } from './stack-processes.ts';
import { SupervisedProcess, type ProcessEvent, type ProcessSpecification, type ProcessState } from './supervised-process.ts';
import { prepareTemporal } from './temporal.ts';
import { compileCache } from './cache-folder.js';
import { resolveTool, temporalTool } from './tools.ts';

/** The codec endpoint of the API, which the Temporal UI decodes payloads with. */
const CODEC_PATH = '/codec';
/** Where the API serves the Temporal UI behind its own sign-in; the UI must know. */
const UI_PATH = '/temporal';
const DEAF_MS = 120_000;

export interface StackOptions {
  /** Settings by name, as in `process.env` (the default). Unset ones have the defaults of `platform/config`. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Settings on top of `env`. */
  settings?: Readonly<Record<string, string>>;
  /** HAL9 processes to run. Default: all. */
  processes?: readonly ProcessKind[];
  /** Extra PostgreSQL settings of the embedded server. */
  postgresSettings?: Readonly<Record<string, string>>;
  /** Told what is going on while it starts, a line each. */
  progress?: (message: string) => void;
  /** Gets each line a process writes, beside its log file. */
  onLine?: (process: string, line: string) => void;
  /** Gets the first organisation and its key the moment they exist: what fails afterwards must not lose the only copy. */
  onFirst?: (first: FirstOrganisation) => void;
  /** Gets what happens to the processes. */
  onEvent?: (event: ProcessEvent) => void;
  /** Milliseconds a process may be deaf before it is killed and started again. Default 120,000. */
  deafMs?: number;
  /** Aborts the start. */
  signal?: AbortSignal;
}

export interface StackProcess {
  readonly name: string;
  readonly pid: number | undefined;
  readonly state: ProcessState;
  readonly restarts: number;
}

/** A running HAL9 of one machine. */
export interface Stack {
  /** Absolute path of the data folder. */
  readonly data: string;
  /** Base address of the API, without a slash at its end. */
  readonly url: string;
  /** Connection string of the schema's owner. */
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly temporalUiUrl: string | undefined;
  /** Name of this machine, as runs that touch it are given. */
  readonly hostId: string;
  /** The environment of the HAL9 processes; holds secrets. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Set by the start that created the first organisation: its id and the administrator's key, known at this moment only. */
  readonly first: FirstOrganisation | undefined;
  /** `postgres` and `temporal` when embedded, `api`, `core-1`..., `dispatcher`, `host`. */
  processes(): StackProcess[];
  /** Sends a signal to a process; it is started again should that end it. @throws {Error} for an unknown name, or when it has no process now. */
  kill(name: string, signal: NodeJS.Signals): number;
  /** Resolves when the process (or, without a name, every process) is ready. */
  whenReady(name?: string): Promise<void>;
  /** Ends every process, databases last. Safe to call twice. */
  stop(): Promise<void>;
}

/**
 * Brings the whole platform up on this machine and keeps it up: what ends without being asked is started again.
 * @throws {SetupError} when something about the machine is in the way; everything started is ended by then.
 * @throws {ConfigError} when a setting is wrong.
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const env = { ...(options.env ?? process.env), ...options.settings };
  const config = loadConfig(env);
  const folder = await DataFolder.open(config.HAL9_DATA);
  const starting = new StackStart(folder, config, env, options);
  try {
    return await starting.run();
  } catch (error) {
    await starting.stop();
    throw options.signal?.aborted === true ? options.signal.reason : error;
  }
}

class StackStart {
  readonly #folder: DataFolder;
  readonly #config: Config;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #options: StackOptions;
  readonly #processes = new Map<string, SupervisedProcess>();
  readonly #databases = new Set<string>();
  #logs = '';
  #stopped: Promise<void> | undefined;
  #recording: Promise<void> = Promise.resolve();
  #health: StackHealth | undefined;

  constructor(folder: DataFolder, config: Config, env: Readonly<Record<string, string | undefined>>, options: StackOptions) {
    this.#folder = folder;
    this.#config = config;
    this.#env = env;
    this.#options = options;
  }

  async run(): Promise<Stack> {
    const config = this.#config;
    this.#logs = await this.#folder.folder('logs');
    const ports = await this.#choosePorts();
    const url = `${config.HAL9_TLS_CERT === undefined ? 'http' : 'https'}://${browserHost(config.HAL9_HOST)}:${ports.api}`;
    // Made here, once, before several processes ask for it.
    await loadKeyRing({ ...config, HAL9_DATA: this.#folder.path });
    const masterKeys = config.HAL9_MASTER_KEYS ?? (await this.#folder.readSecret('keys/master'));
    // Settled, not raced: nothing may still be starting when a failure is cleaned up.
    const [database, temporal] = await settled([this.#startDatabase(ports.postgres), this.#startTemporal(ports, url)]);
    this.#options.signal?.throwIfAborted();
    const environment: Record<string, string | undefined> = {
      ...compileCache(this.#env),
      ...this.#env,
      HAL9_DATA: this.#folder.path,
      HAL9_PORT: String(ports.api),
      HAL9_MASTER_KEYS: masterKeys,
      DATABASE_URL: database.url,
      TEMPORAL_ADDRESS: temporal.address,
      ...(temporal.uiUrl === undefined ? {} : { TEMPORAL_UI_URL: `${url}${UI_PATH}`, HAL9_TEMPORAL_UI_UPSTREAM: temporal.uiUrl }),
      ...this.#collectorSettings(database.collector, url, ports),
    };
    this.#health = await StackHealth.open({
      config,
      databaseUrl: database.url,
      temporalAddress: temporal.address,
      livenessUrl: (name) => (name === 'api' ? `${url}/healthz` : `http://127.0.0.1:${ports.metrics(name)}/healthz`),
      deafMs: this.#options.deafMs ?? DEAF_MS,
    });
    await settled(
      this.#names().map(({ kind, name }) => this.#start(halProcess(kind, name, { ...environment, HAL9_METRICS_PORT: String(ports.metrics(name)), HAL9_PROCESS: name }))),
    );
    this.#options.signal?.throwIfAborted();
    this.#health.watch([...this.#processes.values()]);
    this.#health.start();
    return {
      data: this.#folder.path,
      url,
      databaseUrl: database.url,
      temporalAddress: temporal.address,
      temporalNamespace: config.TEMPORAL_NAMESPACE,
      temporalUiUrl: temporal.uiUrl === undefined ? config.TEMPORAL_UI_URL : `${url}${UI_PATH}`,
      hostId: hostIdOf(config),
      environment,
      first: database.first,
      processes: () => [...this.#processes.values()].map(({ name, pid, state, restarts }) => ({ name, pid, state, restarts })),
      kill: (name, signal) => this.#kill(name, signal),
      whenReady: async (name) => {
        await Promise.all((name === undefined ? [...this.#processes.values()] : [this.#find(name)]).map((process) => process.whenReady()));
      },
      stop: () => this.stop(),
    };
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const all = [...this.#processes.values()];
    await this.#health?.stop();
    await Promise.all(all.filter(({ name }) => !this.#databases.has(name)).map((process) => process.stop()));
    await Promise.all(all.filter(({ name }) => this.#databases.has(name)).map((process) => process.stop()));
    await this.#recording;
    await this.#folder.close();
  }

  #names(): { kind: ProcessKind; name: string }[] {
    const kinds = this.#options.processes ?? (this.#config.HAL9_BACKUPS === undefined ? ALL_PROCESSES : [...ALL_PROCESSES, 'recovery']);
    return kinds.flatMap<{ kind: ProcessKind; name: string }>((kind) =>
      kind === 'core' ? Array.from({ length: this.#config.HAL9_CORE_WORKERS }, (_, index) => ({ kind, name: `core-${index + 1}` })) : [{ kind, name: kind }],
    );
  }

  async #choosePorts(): Promise<{ api: number; postgres: number; temporal: number; temporalUi: number; temporalMetrics: number; metrics: (name: string) => number }> {
    const config = this.#config;
    const before = await this.#folder.readPorts();
    const chosen: Record<string, number> = { ...before };
    const choose = async (name: string, setting: string, wanted: number | undefined, preset: number | undefined): Promise<number> => {
      const port = wanted !== undefined && wanted !== 0 ? await demandPort(wanted, setting) : await preferPort([before[name], ...(wanted === 0 || config.HAL9_PORT === 0 ? [] : [preset])]);
      chosen[name] = port;
      return port;
    };
    const api =
      config.HAL9_PORT === 0 ? await choose('api', 'HAL9_PORT', 0, undefined) : await demandPort(config.HAL9_PORT, 'HAL9_PORT', config.HAL9_HOST);
    const postgres = await choose('postgres', 'HAL9_POSTGRES_PORT', config.HAL9_POSTGRES_PORT, 54_329);
    const temporal = await choose('temporal', 'HAL9_TEMPORAL_PORT', config.HAL9_TEMPORAL_PORT, 7233);
    const temporalUi = await choose('temporal-ui', 'HAL9_TEMPORAL_UI_PORT', config.HAL9_TEMPORAL_UI_PORT, 8233);
    const temporalMetrics = await choose('temporal-metrics', 'none', undefined, undefined);
    for (const { name } of this.#names()) await choose(`${name}-metrics`, 'none', undefined, undefined);
    await this.#folder.writePorts(chosen);
    return { api, postgres, temporal, temporalUi, temporalMetrics, metrics: (name) => chosen[`${name}-metrics`] ?? 0 };
  }

  async #startDatabase(port: number): Promise<{ url: string; first: FirstOrganisation | undefined; collector: Collector | undefined }> {
    let url = this.#config.DATABASE_URL;
    if (url === undefined) {
      const server = await preparePostgres({ folder: join(this.#folder.path, 'postgres'), port, settings: this.#options.postgresSettings });
      this.#options.signal?.throwIfAborted();
      this.#databases.add('postgres');
      await this.#start({ name: 'postgres', launch: server.launch, ready: server.ready, recover: server.recover, stopSignal: 'SIGINT', stopGraceMs: 15_000, startAttempts: 4 });
      url = server.url;
    }
    const ssl = await databaseTls(this.#config);
    if (this.#config.DATABASE_URL !== undefined) await assertPostgres(url, ssl);
    await migrate(url, { ssl });
    const database = new Database({ url, ssl, poolSize: 2, applicationName: 'hal9-start' });
    try {
      const first = await bootstrap(database);
      if (first !== undefined) this.#options.onFirst?.(first);
      return { url, first, collector: await collectorKey(this.#folder, database) };
    } finally {
      await database.close();
    }
  }

  async #startTemporal(ports: { temporal: number; temporalUi: number; temporalMetrics: number }, apiUrl: string): Promise<{ address: string; uiUrl: string | undefined }> {
    const config = this.#config;
    if (config.TEMPORAL_ADDRESS !== undefined) {
      await assertTemporal(config);
      return { address: config.TEMPORAL_ADDRESS, uiUrl: undefined };
    }
    const executable = await resolveTool(temporalTool(), { env: this.#env, progress: (message) => this.#options.progress?.(message), signal: this.#options.signal });
    const server = await prepareTemporal({
      executable,
      folder: join(this.#folder.path, 'temporal'),
      port: ports.temporal,
      uiPort: ports.temporalUi,
      metricsPort: ports.temporalMetrics,
      uiPublicPath: UI_PATH,
      codecEndpoint: `${apiUrl}${CODEC_PATH}/${config.TEMPORAL_NAMESPACE}`,
      namespace: config.TEMPORAL_NAMESPACE,
    });
    this.#options.signal?.throwIfAborted();
    this.#databases.add('temporal');
    // The dev server panics now and then while it starts; the next start is good.
    await this.#start({ name: 'temporal', launch: server.launch, ready: server.ready, stopSignal: 'SIGTERM', stopGraceMs: 8000, startAttempts: 3 });
    return { address: server.address, uiUrl: server.uiUrl };
  }

  async #start(specification: ProcessSpecification): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const process = new SupervisedProcess(specification, {
      log: new LogFile(join(this.#logs, `${specification.name}.log`)),
      onEvent: (event) => this.#handle(event),
      onLine: this.#options.onLine,
    });
    this.#processes.set(process.name, process);
    await process.start();
  }

  #handle(event: ProcessEvent): void {
    if (event.type === 'launched') this.#recording = this.#recording.then(() => this.#record());
    this.#health?.handle(event);
    this.#options.onEvent?.(event);
  }

  /** What the host process needs to send this machine's metrics; settings of the user's own come first. */
  #collectorSettings(collector: Collector | undefined, url: string, ports: { temporalMetrics: number; metrics: (name: string) => number }): Record<string, string> {
    const endpoints = [
      `api=${url}/metrics`,
      ...(this.#databases.has('temporal') ? [`temporal=http://127.0.0.1:${ports.temporalMetrics}/metrics`] : []),
      ...this.#names().flatMap(({ kind, name }) => (kind === 'core' || kind === 'dispatcher' ? [`${name}=http://127.0.0.1:${ports.metrics(name)}/metrics`] : [])),
    ];
    const preset = {
      HAL9_COLLECTOR_SCRAPE: endpoints.join(','),
      HAL9_COLLECTOR_URL: url,
      HAL9_AGENT_SUPERVISED: `--data=${this.#folder.path}`,
      ...(collector === undefined ? {} : { HAL9_COLLECTOR_KEY: collector.apiKey, HAL9_AGENT_ORG: collector.orgId }),
    };
    return Object.fromEntries(Object.entries(preset).filter(([name]) => this.#env[name] === undefined));
  }

  /** Notes who runs, for the next start should this process be killed. */
  async #record(): Promise<void> {
    const running = [...this.#processes.values()].flatMap(({ name, pid }) => {
      const identity = pid === undefined ? undefined : identify(pid);
      return identity === undefined ? [] : [{ name, ...identity }];
    });
    await this.#folder.writeProcesses(running);
  }

  #find(name: string): SupervisedProcess {
    const process = this.#processes.get(name);
    if (process === undefined) throw new Error(`no process ${name}; there are ${[...this.#processes.keys()].join(', ')}`);
    return process;
  }

  #kill(name: string, signal: NodeJS.Signals): number {
    const process = this.#find(name);
    const { pid } = process;
    if (pid === undefined || !process.kill(signal)) throw new Error(`${name} is not running now`);
    return pid;
  }
}

/** Waits for all; then throws the first failure. */
async function settled<T extends readonly unknown[]>(work: { readonly [K in keyof T]: Promise<T[K]> }): Promise<T> {
  const results = await Promise.allSettled(work);
  const failure = results.find((result) => result.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return Promise.all(work) as Promise<unknown> as Promise<T>;
}

/** Where a browser on this machine reaches an API that listens on `host`. */
function browserHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
