import type { BrowserContextOptions, Page } from 'playwright-core';
import type { Logger } from 'pino';
import type { Egress } from '../../platform/connections/egress.ts';
import type { Flow } from '../../schemas/browser/flow.ts';
import type { ChromiumPool, PooledContext } from './chromium-pool.ts';
import { EgressProxy } from './egress-proxy.ts';

/** What cannot be changed of a context once it is there. */
export type ContextShape = Pick<Flow, 'viewport' | 'locale' | 'timeZone'>;

/** A context with its way out and an empty page; nobody used it before. */
export interface StockedContext {
  readonly pooled: PooledContext;
  /** Lets nothing out until it is given rules. */
  readonly proxy: EgressProxy;
  readonly page: Page;
}

/** How long one waits for a session, ms; with the pool's own time, no Chromium is left ten seconds after the last session. */
const KEEP_MS = 3_000;

interface Spare {
  readonly key: string;
  readonly ready: Promise<StockedContext>;
  readonly expiry: NodeJS.Timeout;
}

/** Keeps one context ready for the next session, as the one before was: a context and its first page take longer than all that a session does before its first step. */
export class ContextStock {
  readonly #pool: ChromiumPool;
  readonly #egress: Pick<Egress, 'address'>;
  readonly #logger: Logger;
  #spare: Spare | undefined;

  constructor({ pool, egress, logger }: { pool: ChromiumPool; egress: Pick<Egress, 'address'>; logger: Logger }) {
    this.#pool = pool;
    this.#egress = egress;
    this.#logger = logger;
  }

  /** One for a session; `storageState` asks for one that was never anything else. */
  async take(shape: ContextShape, storageState?: BrowserContextOptions['storageState']): Promise<StockedContext> {
    const spare = this.#spare;
    if (spare !== undefined && storageState === undefined && spare.key === keyOf(shape)) {
      this.#spare = undefined;
      clearTimeout(spare.expiry);
      const stocked = await spare.ready.catch(() => undefined); // its browser died: another one is made
      if (stocked !== undefined && !stocked.page.isClosed()) return stocked;
      if (stocked !== undefined) await letGo(stocked);
    }
    return this.#make(shape, storageState);
  }

  /** Prepares the next one, where there is a slot that could use it. */
  refill(shape: ContextShape): void {
    if (this.#spare !== undefined || this.#pool.free === 0) return;
    const ready = this.#make(shape);
    const spare: Spare = { key: keyOf(shape), ready, expiry: setTimeout(() => void this.#drop(spare), KEEP_MS).unref() };
    ready.catch((error: unknown) => {
      this.#logger.warn({ reason: error instanceof Error ? error.message.split('\n')[0] : String(error) }, 'no browser context kept ready');
      if (this.#spare === spare) this.#spare = undefined;
    });
    this.#spare = spare;
  }

  async close(): Promise<void> {
    if (this.#spare !== undefined) await this.#drop(this.#spare);
  }

  async #drop(spare: Spare): Promise<void> {
    clearTimeout(spare.expiry);
    if (this.#spare === spare) this.#spare = undefined;
    const stocked = await spare.ready.catch(() => undefined); // said already
    if (stocked !== undefined) await letGo(stocked);
  }

  async #make({ viewport, locale, timeZone }: ContextShape, storageState?: BrowserContextOptions['storageState']): Promise<StockedContext> {
    const proxy = await EgressProxy.start({ egress: this.#egress });
    let pooled: PooledContext | undefined;
    try {
      pooled = await this.#pool.open({ proxy: { server: proxy.url }, viewport, locale, timezoneId: timeZone, acceptDownloads: true, serviceWorkers: 'allow', ...(storageState === undefined ? {} : { storageState }) });
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
