import type { Page } from 'playwright-core';
import type { Logger } from 'pino';
import type { BrowserLiveViewStore } from '../../database/browser-live-views.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { liveInputsSchema, type LiveInput } from '../../schemas/browser/live-input.ts';
import { LIVE_VIEW_PURPOSE } from '../../schemas/names/live-view.ts';
import type { LiveSession } from './live-session.ts';

export interface LiveViewParts {
  readonly store: BrowserLiveViewStore;
  readonly keys: Pick<KeyRing, 'seal' | 'open'>;
  readonly logger: Logger;
}

/** How often it is looked whether somebody watches, ms. */
const WATCH_MS = 1_000;
/** How often input is looked for while somebody watches, ms. */
const INPUT_MS = 60;
/** Between two pictures, ms: a person's eye, not a film. */
const FRAME_MS = 150;
const QUALITY = 60;
/** Keys that are a character go in as text where the keyboard has no such key. */
const UNKNOWN_KEY = /Unknown key/;
const ONE_CHARACTER = /^.$/su;

/** The page of a session for people: pictures of it while somebody watches, and what they do to it while the session waits for them. */
export class LiveView {
  readonly #parts: LiveViewParts;
  readonly #orgId: string;
  readonly #sessionId: string;
  readonly #session: LiveSession;
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;
  #casting: Page | undefined;
  #attended = false;
  #seenAt = Date.now();

  private constructor(parts: LiveViewParts, orgId: string, sessionId: string, session: LiveSession) {
    this.#parts = parts;
    this.#orgId = orgId;
    this.#sessionId = sessionId;
    this.#session = session;
    this.#running = this.#run();
  }

  static start(parts: LiveViewParts, orgId: string, sessionId: string, session: LiveSession): LiveView {
    return new LiveView(parts, orgId, sessionId, session);
  }

  /** Lets what people do reach the page, or not any more. */
  attend(attended: boolean): void {
    this.#attended = attended;
    this.#seenAt = Date.now();
    // The next picture says so.
    this.#casting = undefined;
  }

  /** Resolves when nobody watched for so long. */
  async deserted(ms: number, signal: AbortSignal): Promise<void> {
    while (Date.now() - this.#seenAt < ms && !signal.aborted && !this.#ended.signal.aborted) await pause(WATCH_MS, signal);
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { store, logger } = this.#parts;
    let shown = false;
    while (!this.#ended.signal.aborted) {
      try {
        const watched = await store.watched(this.#orgId, this.#sessionId);
        if (watched) {
          shown = true;
          this.#seenAt = Date.now();
          await this.#cast();
          await this.#takeInputs();
          continue;
        }
        if (shown) await this.#close();
        shown = false;
      } catch (error) {
        // Whoever watches sees no more; the session itself goes on.
        if (!this.#ended.signal.aborted) logger.warn({ reason: reasonOf(error) }, 'live view of a browser session');
      }
      await pause(WATCH_MS, this.#ended.signal);
    }
    if (shown) await this.#close().catch((error: unknown) => logger.warn({ reason: reasonOf(error) }, 'live view of a browser session not cleared'));
  }

  /** Follows the tab that steps act on. */
  async #cast(): Promise<void> {
    const page = this.#session.page();
    if (this.#casting === page || page.isClosed()) return;
    await this.#stopCasting();
    this.#casting = page;
    const { width, height } = page.viewportSize() ?? { width: 1280, height: 800 };
    // What moves is told by frames; a page that rests shows itself once.
    await this.#show(page, await page.screenshot({ type: 'jpeg', quality: QUALITY, timeout: 5_000 }), width, height);
    await page.screencast.start({
      size: { width, height },
      quality: QUALITY,
      onFrame: async ({ data, viewportWidth, viewportHeight }) => {
        // Answering late slows the film down instead of heaping it up.
        await this.#show(page, data, viewportWidth, viewportHeight).catch((error: unknown) => this.#parts.logger.warn({ reason: reasonOf(error) }, 'picture of a live view not kept'));
        await pause(FRAME_MS, this.#ended.signal);
      },
    });
  }

  async #show(page: Page, data: Buffer, width: number, height: number): Promise<void> {
    const { store, keys } = this.#parts;
    if (this.#casting !== page) return;
    await store.show(this.#orgId, this.#sessionId, { picture: keys.seal(this.#orgId, LIVE_VIEW_PURPOSE, data, this.#sessionId), width, height, attended: this.#attended });
  }

  async #takeInputs(): Promise<void> {
    const { store, keys } = this.#parts;
    const until = Date.now() + WATCH_MS;
    while (Date.now() < until && !this.#ended.signal.aborted) {
      for (const sealed of await store.take(this.#orgId, this.#sessionId)) {
        // What was done while the flow works on reaches nobody.
        if (!this.#attended) continue;
        const inputs = liveInputsSchema.parse(JSON.parse(keys.open(this.#orgId, LIVE_VIEW_PURPOSE, sealed, this.#sessionId).toString('utf8')));
        for (const input of inputs) await apply(this.#session.page(), input);
      }
      await pause(INPUT_MS, this.#ended.signal);
      if (this.#casting !== this.#session.page()) return;
    }
  }

  async #stopCasting(): Promise<void> {
    const page = this.#casting;
    this.#casting = undefined;
    for (const each of this.#session.tabs()) if (!each.isClosed() && (page === undefined || each === page)) await each.screencast.stop().catch(() => undefined); // it was not filmed
  }

  async #close(): Promise<void> {
    await this.#stopCasting();
    await this.#parts.store.clear(this.#orgId, this.#sessionId);
  }
}

async function apply(page: Page, input: LiveInput): Promise<void> {
  switch (input.do) {
    case 'move':
      await page.mouse.move(input.x, input.y);
      return;
    case 'down':
    case 'up':
      await page.mouse.move(input.x, input.y);
      await page.mouse[input.do]({ button: input.button });
      return;
    case 'wheel':
      await page.mouse.move(input.x, input.y);
      await page.mouse.wheel(input.dx, input.dy);
      return;
    case 'text':
      await page.keyboard.insertText(input.text);
      return;
    case 'key-down':
    case 'key-up':
      await page.keyboard[input.do === 'key-down' ? 'down' : 'up'](input.key).catch(async (error: unknown) => {
        if (!(error instanceof Error) || !UNKNOWN_KEY.test(error.message)) throw error;
        if (input.do === 'key-down' && ONE_CHARACTER.test(input.key)) await page.keyboard.insertText(input.key);
      });
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}

/** One line, and nothing of the page. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown';
}
