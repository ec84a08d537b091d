import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { LEASE_SECONDS, type SourceStore, type StoredSource } from '../../database/broker-sources.ts';

const RENEW_MS = 2_000;
/** Without a renewal for so long a consumer stops by itself, before another may begin, ms. */
const STALE_MS = (LEASE_SECONDS - 3) * 1000;

export interface LeaseKeeperParts {
  readonly store: Pick<SourceStore, 'leaseAcrossOrganisations' | 'release'>;
  /** Consumes until the signal aborts. */
  readonly consume: (source: StoredSource, signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

interface Consuming {
  readonly source: StoredSource;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

/** Holds sources for this process and consumes what it holds, until the signal aborts. */
export async function keepLeases({ store, consume, logger }: LeaseKeeperParts, signal: AbortSignal): Promise<void> {
  const holder = randomUUID();
  const consuming = new Map<string, Consuming>();
  let renewedAt = Date.now();
  const stop = async (key: string): Promise<void> => {
    const running = consuming.get(key);
    consuming.delete(key);
    running?.stop.abort();
    await running?.done;
  };
  while (!signal.aborted) {
    try {
      const held = await store.leaseAcrossOrganisations(holder);
      renewedAt = Date.now();
      const wanted = new Map(held.map((source) => [`${source.orgId}/${source.id}/${String(source.version)}`, source]));
      await Promise.all([...consuming.keys()].filter((key) => !wanted.has(key)).map(stop));
      for (const [key, source] of wanted) if (!consuming.has(key)) consuming.set(key, begin(source));
    } catch (error) {
      logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'leases of sources were not renewed');
      if (Date.now() - renewedAt > STALE_MS) await Promise.all([...consuming.keys()].map(stop));
    }
    // An aborted pause is the end, not a failure.
    await sleep(RENEW_MS, undefined, { signal }).catch(() => undefined);
  }
  const held = [...consuming.values()].map(({ source }) => source);
  await Promise.all([...consuming.keys()].map(stop));
  await Promise.all(held.map(({ orgId, id }) => store.release(orgId, id, holder)));

  function begin(source: StoredSource): Consuming {
    const controller = new AbortController();
    const done = consume(source, controller.signal).catch((error: unknown) => logger.error({ err: error, source: source.id }, 'a consumer failed'));
    return { source, stop: controller, done };
  }
}
