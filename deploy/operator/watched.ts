import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { KubernetesError, type Kubernetes } from './kubernetes.ts';
import { keyOf, pathOf, type Kind, type KubernetesObject } from './objects.ts';

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 30_000;

export interface WatchedOptions {
  readonly kind: Kind;
  /** Empty: all. */
  readonly namespace: string;
  readonly labelSelector?: string;
  /** A kind that the API server may not know; there are none of it then. */
  readonly optional?: boolean;
  /** Milliseconds between two complete readings, whatever the watch says meanwhile. */
  readonly relistMs: number;
  /** Told of every object that came, changed or went, and of every object there is at each complete reading. */
  readonly onChange: (object: KubernetesObject) => void;
  readonly logger: Logger;
}

interface List {
  readonly metadata: { readonly resourceVersion: string };
  readonly items?: readonly KubernetesObject[];
}

/** A copy of all objects of a kind, kept true by list and watch, with a complete reading now and then: what a watch missed comes in by that. */
export class Watched {
  readonly #api: Kubernetes;
  readonly #options: WatchedOptions;
  readonly #objects = new Map<string, KubernetesObject>();
  readonly #synced = Promise.withResolvers<void>();
  #known = true;

  constructor(api: Kubernetes, options: WatchedOptions) {
    this.#api = api;
    this.#options = options;
  }

  /** Resolves after the first complete reading. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Whether the API server knows the kind. */
  get known(): boolean {
    return this.#known;
  }

  get(namespace: string, name: string): KubernetesObject | undefined {
    return this.#objects.get(`${namespace}/${name}`);
  }

  all(): KubernetesObject[] {
    return [...this.#objects.values()];
  }

  /** Takes in what a write answered, so that the next look does not see the state before it. */
  learn(object: KubernetesObject): void {
    const before = this.#objects.get(keyOf(object));
    if (before === undefined || versionOf(before) <= versionOf(object)) this.#objects.set(keyOf(object), object);
  }

  /** Until `signal` aborts. Never fails: tries again, ever more slowly. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.#round(signal, () => {
          failures = 0;
        });
      } catch (error) {
        if (signal.aborted) return;
        const gone = error instanceof KubernetesError && error.status === 410;
        if (!gone) {
          failures += 1;
          this.#options.logger[failures === 3 ? 'warn' : 'debug']({ kind: this.#options.kind.plural, reason: error instanceof Error ? error.message : String(error) }, 'watch failed, trying again');
          const wait = Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
          await delay(wait * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
        }
      }
    }
  }

  /** A complete reading and the changes after it, until the next one is due. */
  async #round(signal: AbortSignal, onHealthy: () => void): Promise<void> {
    const { kind, namespace, relistMs } = this.#options;
    const path = pathOf(kind, namespace);
    const due = AbortSignal.any([signal, AbortSignal.timeout(relistMs)]);
    let version = await this.#list(path);
    onHealthy();
    while (!due.aborted) {
      if (version === undefined) {
        await delay(relistMs, undefined, { signal: due }).catch(() => undefined);
        return;
      }
      const query = { resourceVersion: version, ...this.#selection() };
      await this.#api.follow(path, query, (event) => {
        onHealthy();
        if (event.type === 'BOOKMARK') {
          version = event.resourceVersion;
          return;
        }
        const { object } = event;
        version = object.metadata.resourceVersion ?? version;
        if (event.type === 'DELETED') this.#objects.delete(keyOf(object));
        else this.#objects.set(keyOf(object), object);
        this.#options.onChange(object);
      }, due);
    }
  }

  /** @returns the version to follow from; undefined when the kind is not known. */
  async #list(path: string): Promise<string | undefined> {
    const { kind, optional = false } = this.#options;
    let list: List;
    try {
      list = await this.#api.get<List>(path, this.#selection());
    } catch (error) {
      if (!optional || !(error instanceof KubernetesError) || error.status !== 404) throw error;
      this.#known = false;
      this.#objects.clear();
      this.#synced.resolve();
      return undefined;
    }
    this.#known = true;
    // Items of a list do not say what they are.
    const items = (list.items ?? []).map((item) => ({ ...item, apiVersion: kind.apiVersion }));
    const keys = new Set(items.map(keyOf));
    const gone = [...this.#objects].filter(([key]) => !keys.has(key));
    for (const [key] of gone) this.#objects.delete(key);
    for (const item of items) this.#objects.set(keyOf(item), item);
    this.#synced.resolve();
    for (const object of [...items, ...gone.map(([, object]) => object)]) this.#options.onChange(object);
    return list.metadata.resourceVersion;
  }

  #selection(): Record<string, string> {
    const { labelSelector } = this.#options;
    return labelSelector === undefined ? {} : { labelSelector };
  }
}

/** Versions are numbers in an order since Kubernetes 1.35 (KEP-5504), and were always with etcd behind them. */
function versionOf({ metadata }: KubernetesObject): bigint {
  return BigInt(metadata.resourceVersion ?? 0);
}
