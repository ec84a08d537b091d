import type { BrowserContext } from 'playwright-core';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ChromiumPool } from '../../activities/browser/chromium-pool.ts';
import { ContextStock, type StockedContext } from '../../activities/browser/context-stock.ts';
import type { Slot } from '../../activities/browser/slots.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { flowSchema } from '../../schemas/browser/flow.ts';

const SHAPE = flowSchema.parse({ steps: [{ do: 'pause', seconds: 1 }] });
const OTHER = { ...SHAPE, locale: 'de-DE' };

describe('the stock of browser contexts', () => {
  const logger = pino({ level: 'silent' });
  const egress = new Egress({ allowPrivate: true });
  let pool: ChromiumPool;
  let stock: ContextStock;
  const taken = new Map<StockedContext, Slot>();

  const take = async (shape = SHAPE): Promise<StockedContext> => {
    const slot = await pool.reserve('one', 60_000);
    if (slot === undefined) throw new Error('no slot became free');
    const stocked = await stock.take(shape);
    taken.set(stocked, slot);
    return stocked;
  };
  const end = async (stocked: StockedContext): Promise<void> => {
    const slot = taken.get(stocked);
    taken.delete(stocked);
    await stocked.pooled.release();
    await stocked.proxy.close();
    slot?.release();
  };
  /** Contexts that have their page, of the Chromium of another one. */
  const ready = ({ pooled }: StockedContext): BrowserContext[] => (pooled.context.browser()?.contexts() ?? []).filter((context) => context.pages().length > 0);

  beforeAll(() => {
    pool = new ChromiumPool({ slots: 4, contextsPerProcess: 8, executablePath: process.env['HAL9_CHROMIUM'], logger });
    stock = new ContextStock({ pool, egress, logger });
  });
  afterEach(async () => {
    for (const stocked of taken.keys()) await end(stocked);
  });
  afterAll(async () => {
    await stock.close();
    await pool.close();
    await egress.close();
  });

  it('has the next ones ready, and gives none twice', async () => {
    const first = await take();
    await first.pooled.context.addCookies([{ name: 'mine', value: '1', url: 'http://127.0.0.1' }]);
    stock.refill(SHAPE);
    await expect.poll(() => ready(first)).toHaveLength(3);
    const waiting = ready(first);
    await end(first);
    stock.refill(SHAPE);
    const [second, third] = [await take(), await take()];
    expect(waiting).toEqual(expect.arrayContaining([second.pooled.context, third.pooled.context]));
    expect(new Set([first, second, third].map(({ pooled }) => pooled.context))).toHaveProperty('size', 3);
    expect(await second.pooled.context.cookies()).toEqual([]);
    expect(second.proxy.url).not.toBe(third.proxy.url);
  });

  it('keeps no more than slots could use, and gives nobody a context of another shape', async () => {
    const held = [await take(), await take(), await take()];
    stock.refill(SHAPE);
    const [first] = held;
    if (first === undefined) throw new Error('nothing was taken');
    await expect.poll(() => ready(first)).toHaveLength(4);
    const other = await take(OTHER);
    expect(await other.page.evaluate('navigator.language')).toBe('de-DE');
    // The last slot is taken: what waited is let go.
    await expect.poll(() => ready(first)).toHaveLength(4);
    expect(ready(first)).toEqual(expect.arrayContaining([...held, other].map(({ pooled }) => pooled.context)));
  });

  it('waits for none whose Chromium ends while they are made', async () => {
    for (let round = 0; round < 5; round += 1) {
      const first = await take();
      const session = await first.pooled.context.browser()?.newBrowserCDPSession();
      stock.refill(SHAPE);
      session?.send('Browser.crash').catch(() => undefined); // nobody is left to answer
      await end(first);
      const second = await take();
      expect(await second.page.evaluate('1 + 1')).toBe(2);
      await end(second);
    }
  });

  it('lets go what nobody came for', async () => {
    const last = await take();
    stock.refill(SHAPE);
    await expect.poll(() => ready(last)).toHaveLength(3);
    const browser = last.pooled.context.browser();
    await end(last);
    stock.refill(SHAPE);
    await expect.poll(() => browser?.contexts().length).toBe(0);
    await expect.poll(() => browser?.isConnected()).toBe(false);
  });
});
