import type { BrowserContext, Page } from 'playwright-core';
import { z } from 'zod';
import { leafSchema } from '../../schemas/browser/flow.ts';
import type { FlowState } from './flow-machine.ts';
import type { LiveSession } from './live-session.ts';

const RESTORE_MS = 30_000;
/** Looks at a page that goes from one address to the next. */
const MOST_TURNS = 5;

const loopSchema = z.union([
  z.object({ kind: z.literal('for-each'), items: z.array(z.unknown()), as: z.string(), turn: z.int() }),
  z.object({ kind: z.literal('while'), most: z.int(), turn: z.int() }),
  z.object({ kind: z.literal('words'), turn: z.int(), done: z.boolean(), steps: z.array(leafSchema), before: z.array(leafSchema) }),
]);
const checkpointSchema = z.object({
  version: z.literal(1),
  sessionId: z.string(),
  state: z.object({ frames: z.array(z.object({ path: z.string(), index: z.int(), loop: loopSchema.optional() })), vars: z.record(z.string(), z.unknown()), taken: z.int(), asked: z.string().optional(), solving: z.object({ key: z.string(), tries: z.int() }).optional() }),
  /** Cookies, localStorage and IndexedDB, in Playwright's form. */
  storage: z.custom<Awaited<ReturnType<BrowserContext['storageState']>>>((value) => typeof value === 'object' && value !== null),
  /** Items of sessionStorage by tab and origin. */
  tabs: z.array(z.object({ url: z.string(), origin: z.string(), items: z.array(z.tuple([z.string(), z.string()])) })),
  active: z.int(),
  /** Names of the credentials that were typed: pages may show them still. */
  credentials: z.array(z.string()).default([]),
});
export type Checkpoint = z.output<typeof checkpointSchema>;

const READ_SESSION_STORAGE = `(() => { try { return Object.entries(sessionStorage); } catch { return []; } })()`;
const storageItems = z.array(z.tuple([z.string(), z.string()]));

/** Everything another browser needs to go on from here. */
export async function captureCheckpoint(sessionId: string, session: LiveSession, state: FlowState, credentials: Iterable<string>): Promise<Checkpoint> {
  const [storage, tabs] = await Promise.all([session.context.storageState({ indexedDB: true }), Promise.all(session.tabs().map(captureTab))]);
  return { version: 1, sessionId, state: structuredClone(state), storage, tabs, active: Math.max(0, session.tabs().indexOf(session.page())), credentials: [...credentials] };
}

async function captureTab(page: Page): Promise<Checkpoint['tabs'][number]> {
  for (let turn = 1; ; turn += 1) {
    const url = page.url();
    const origin = URL.parse(url)?.origin ?? 'null';
    if (origin === 'null') return { url, origin, items: [] };
    try {
      return { url, origin, items: storageItems.parse(await page.evaluate(READ_SESSION_STORAGE)) };
    } catch (error) {
      // The page is on its way to the next: that one counts.
      if (turn === MOST_TURNS || !(error instanceof Error) || !error.message.includes('Execution context was destroyed')) throw error;
      await page.waitForLoadState('domcontentloaded', { timeout: RESTORE_MS });
    }
  }
}

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  return Buffer.from(JSON.stringify(checkpoint));
}

/** @throws {z.ZodError} for bytes that are no checkpoint. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  return checkpointSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
}

/** Opens the tabs of a checkpoint in a context that was made with its `storage`. */
export async function restoreTabs(session: LiveSession, checkpoint: Checkpoint): Promise<void> {
  const { tabs, active } = checkpoint;
  for (const [index, tab] of tabs.entries()) {
    const page = index === 0 ? session.page() : await session.openTab();
    if (tab.origin === 'null') continue;
    if (tab.items.length > 0) {
      // Before the page's own scripts look; once, so that what they change afterwards stays.
      await page.addInitScript(`if (location.origin === ${JSON.stringify(tab.origin)} && sessionStorage.getItem('hal9-restored') === null) { for (const [name, value] of ${JSON.stringify(tab.items)}) sessionStorage.setItem(name, value); sessionStorage.setItem('hal9-restored', '1'); }`);
    }
    await page.goto(tab.url, { timeout: RESTORE_MS });
    if (tab.items.length > 0) await page.evaluate(`sessionStorage.removeItem('hal9-restored')`);
  }
  const chosen = session.tabs()[active];
  if (chosen !== undefined) session.activate(chosen);
}
