import type { BrowserContextOptions, Page } from 'playwright-core';
import type { Logger } from 'pino';
import type { Egress } from '../../platform/connections/egress.ts';
import type { Flow } from '../../schemas/browser/flow.ts';
import type { ChromiumPool, PooledContext } from './chromium-pool.ts';
import { EgressProxy } from './egress-proxy.ts';

/** Device pixels to a CSS pixel: pictures of different scales cannot be compared. */
export const DEVICE_SCALE = 1;

/** What cannot be changed of a context once it is there. */
export type ContextShape = Pick<Flow, 'viewport' | 'locale' | 'timeZone'>;

/** A context with its way out and an empty page; nobody used it before. */
export interface StockedContext {
  readonly pooled: PooledContext;
  /** Lets nothing out until it is given rules. */
  readonly proxy: EgressProxy;
  readonly page: Page;
}

/** Contexts of one shape that wait for sessions: one is being made still when the session after the next comes. */
const READY = 2;
/** All that wait, whatever their shape. */
const MOST = 4;
/** How long they wait after the last session, ms; with the pool's own time, no Chromium is left ten seconds after it. */
const KEEP_MS = 6_000;
/** How long they wait while other sessions go on and none begins or ends, ms. */
const KEEP_BESIDE_MS = 60_000;

interface Spare {
  readonly key: string;
  readonly ready: Promise<StockedContext>;
}

/**
 * Keeps contexts ready for the next sessions, as those before were: a context and its first page take longer than all that a session does
 * before its first step. One is made for each that was used, and none is used twice.
 */
export class ContextStock {
  readonly #pool: ChromiumPool;
  readonly #egress: Pick<Egress, 'address'>;
  readonly #logger: Logger;
  /** Oldest first. */
  readonly #spares: Spare[] = [];
  #touched = 0;
  #expiry: NodeJS.Timeout | undefined;

  constructor({ pool, egress, logger }: { pool: ChromiumPool; egress: Pick<Egress, 'address'>; logger: Logger }) {
    this.#pool = pool;
    this.#egress = egress;
    this.#logger = logger;
  }

  /** One for a session; `storageState` asks for one that was never anything else. */
  async take(shape: ContextShape, storageState?: BrowserContextOptions['storageState']): Promise<StockedContext> {
    const key = keyOf(shape);
    this.#touch();
    for (let spare = storageState === undefined ? this.#next(key) : undefined; spare !== undefined; spare = this.#next(key)) {
      const stocked = await spare.ready.catch(() => undefined); // its browser died: another one is taken
      if (stocked?.page.isClosed() === false) return stocked;
      if (stocked !== undefined) await letGo(stocked);
    }
    this.#trim();
    return this.#make(shape, storageState);
  }

  /** Prepares the next ones, as many as there are slots that could use them. */
  refill(shape: ContextShape): void {
    const key = keyOf(shape);
    this.#touch();
    for (let ready = this.#spares.filter((spare) => spare.key === key).length; ready < Math.min(READY, this.#pool.free); ready += 1) {
      const spare: Spare = { key, ready: this.#make(shape) };
      spare.ready.catch((error: unknown) => {
        this.#logger.warn({ reason: error instanceof Error ? error.message.split('\n')[0] : String(error) }, 'no browser context kept ready');
        this.#remove(spare);
      });
      this.#spares.push(spare);
    }
    this.#trim();
  }

  async close(): Promise<void> {
    clearTimeout(this.#expiry);
    await Promise.all(this.#spares.splice(0).map((spare) => this.#drop(spare)));
  }

  /** The one that is ready longest. */
  #next(key: string): Spare | undefined {
    const at = this.#spares.findIndex((spare) => spare.key === key);
    return at < 0 ? undefined : this.#spares.splice(at, 1)[0];
  }

  /** No more wait than there are slots for; the oldest go first. */
  #trim(): void {
    for (const over of this.#spares.slice(0, Math.max(0, this.#spares.length - Math.min(MOST, this.#pool.free)))) void this.#drop(over);
  }

  /** Somebody began or ended: what waits may wait on. */
  #touch(): void {
    this.#touched = performance.now();
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.#expire(), KEEP_MS).unref();
  }

  #expire(): void {
    if (this.#spares.length === 0) return;
    if (this.#pool.inUse && performance.now() - this.#touched < KEEP_BESIDE_MS) this.#expiry = setTimeout(() => this.#expire(), KEEP_MS).unref();
    else for (const spare of this.#spares.splice(0)) void this.#drop(spare);
  }

  #remove(spare: Spare): void {
    const at = this.#spares.indexOf(spare);
    if (at >= 0) this.#spares.splice(at, 1);
  }

  async #drop(spare: Spare): Promise<void> {
    this.#remove(spare);
    const stocked = await spare.ready.catch(() => undefined); // said already
    if (stocked !== undefined) await letGo(stocked);
  }

  async #make({ viewport, locale, timeZone }: ContextShape, storageState?: BrowserContextOptions['storageState']): Promise<StockedContext> {
    const proxy = await EgressProxy.start({ egress: this.#egress });
    let pooled: PooledContext | undefined;
    try {
      pooled = await this.#pool.open({ proxy: { server: proxy.url }, viewport, deviceScaleFactor: DEVICE_SCALE, locale, timezoneId: timeZone, acceptDownloads: true, serviceWorkers: 'allow', ...(storageState === undefined ? {} : { storageState }) });
      return { pooled, proxy, page: await pooled.context.newPage() };
    } catch (error) {
      await pooled?.release();
      await proxy.close();
      throw error;
    }
  }
}

async function letGo({ pooled, proxy }: StockedContext): Promise<void> {
  await pooled.release();
  await proxy.close();
}

function keyOf({ viewport, locale, timeZone }: ContextShape): string {
  return JSON.stringify([viewport.width, viewport.height, locale, timeZone]);
}
