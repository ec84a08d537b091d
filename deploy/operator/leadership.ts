import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { KubernetesError, type Kubernetes } from './kubernetes.ts';
import { pathOf, type KubernetesObject } from './objects.ts';

const LEASES = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' } as const;

interface Lease extends KubernetesObject {
  readonly spec: { readonly holderIdentity?: string; readonly leaseDurationSeconds?: number; readonly renewTime?: string; readonly acquireTime?: string; readonly leaseTransitions?: number };
}

export interface LeadershipOptions {
  readonly namespace: string;
  readonly name: string;
  /** Of this process alone. */
  readonly identity: string;
  /** Silence after which another one may lead. */
  readonly leaseSeconds: number;
  readonly logger: Logger;
}

/**
 * Leads while it holds a Lease. Clocks of machines are never compared: another's lease has run out when it was not renewed for its length by
 * this process's own watch. Whoever cannot renew stops leading after two thirds of the length, before anybody else may begin.
 */
export class Leadership {
  readonly #api: Kubernetes;
  readonly #options: LeadershipOptions;
  #seen: { version: string; at: number } | undefined;

  constructor(api: Kubernetes, options: LeadershipOptions) {
    this.#api = api;
    this.#options = options;
  }

  /**
   * Until `signal` aborts: waits for the lease, leads, waits again.
   * @param lead runs while the lease is held; its signal aborts when it is lost, and it must return then.
   */
  async run(signal: AbortSignal, lead: (held: AbortSignal) => Promise<void>): Promise<void> {
    const { logger, identity, leaseSeconds } = this.#options;
    while (!signal.aborted) {
      const held = await this.#take().catch((error: unknown) => this.#report(error));
      if (held !== true) {
        await delay((leaseSeconds * 1000) / 5, undefined, { signal }).catch(() => undefined);
        continue;
      }
      logger.info({ event: 'leading', identity }, 'leading');
      const lost = new AbortController();
      const keeping = this.#keep(signal, lost);
      try {
        await lead(AbortSignal.any([signal, lost.signal]));
      } finally {
        lost.abort();
        await keeping;
      }
      logger.info({ event: 'not-leading', identity }, 'not leading any more');
      if (signal.aborted) await this.#release().catch((error: unknown) => this.#report(error));
    }
  }

  /** Renews until leading ends, and ends it when that fails for too long. */
  async #keep(signal: AbortSignal, lost: AbortController): Promise<void> {
    const { leaseSeconds } = this.#options;
    let renewed = performance.now();
    while (!signal.aborted && !lost.signal.aborted) {
      await delay((leaseSeconds * 1000) / 5, undefined, { signal: AbortSignal.any([signal, lost.signal]) }).catch(() => undefined);
      if (signal.aborted || lost.signal.aborted) return;
      const began = performance.now();
      const held = await this.#take().catch((error: unknown) => this.#report(error));
      if (held === true) renewed = began;
      else if (held === false || performance.now() - renewed > (leaseSeconds * 1000 * 2) / 3) lost.abort();
    }
  }

  /** Takes or renews. @returns false when another holds it. */
  async #take(): Promise<boolean> {
    const { namespace, name, identity, leaseSeconds } = this.#options;
    const path = pathOf(LEASES, namespace, name);
    const lease = await this.#api.find<Lease>(path);
    const now = microTime();
    if (lease === undefined) {
      await this.#api.create(pathOf(LEASES, namespace), { apiVersion: LEASES.apiVersion, kind: 'Lease', metadata: { name }, spec: { holderIdentity: identity, leaseDurationSeconds: leaseSeconds, acquireTime: now, renewTime: now, leaseTransitions: 0 } });
      return true;
    }
    const { holderIdentity: holder = '', leaseTransitions = 0 } = lease.spec;
    if (holder !== '' && holder !== identity && !this.#hasRunOut(lease)) return false;
    const own = holder === identity;
    const spec = { ...lease.spec, holderIdentity: identity, leaseDurationSeconds: leaseSeconds, renewTime: now, ...(own ? {} : { acquireTime: now, leaseTransitions: leaseTransitions + 1 }) };
    try {
      // With the version it was read at: of two who take it at once one is refused.
      await this.#api.replace(path, { apiVersion: LEASES.apiVersion, kind: 'Lease', metadata: lease.metadata, spec });
      return true;
    } catch (error) {
      if (error instanceof KubernetesError && error.status === 409) return false;
      throw error;
    }
  }

  #hasRunOut({ metadata: { resourceVersion = '' }, spec }: Lease): boolean {
    if (this.#seen?.version !== resourceVersion) this.#seen = { version: resourceVersion, at: performance.now() };
    return performance.now() - this.#seen.at > (spec.leaseDurationSeconds ?? this.#options.leaseSeconds) * 1000;
  }

  /** Lets the next one begin at once. */
  async #release(): Promise<void> {
    const { namespace, name, identity } = this.#options;
    const lease = await this.#api.find<Lease>(pathOf(LEASES, namespace, name));
    if (lease?.spec.holderIdentity !== identity) return;
    await this.#api.replace(pathOf(LEASES, namespace, name), { apiVersion: LEASES.apiVersion, kind: 'Lease', metadata: lease.metadata, spec: { ...lease.spec, holderIdentity: '', renewTime: microTime() } });
  }

  #report(error: unknown): undefined {
    this.#options.logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'the lease cannot be read or written');
  }
}

/** Six digits of seconds, as `metav1.MicroTime` is written. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
