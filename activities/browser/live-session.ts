import type { BrowserContext, Page } from 'playwright-core';
import type { Flow } from '../../schemas/browser/flow.ts';
import { BrowserError, stepFailed } from './browser-error.ts';
import type { FlowSession } from './flow-runner.ts';
import { locate } from './locating.ts';
import { withoutQuery } from './url-pattern.ts';

/** Requests that ask for a change; beacons and pings tell, they do not ask. */
const EFFECT_RESOURCES: ReadonlySet<string> = new Set(['document', 'xhr', 'fetch']);
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** What went wrong on the pages by itself: evidence, not failure. */
export interface PageTrouble {
  readonly kind: 'console' | 'network' | 'dialog';
  readonly text: string;
}

const MAX_TROUBLES = 50;
const MAX_TEXT = 500;

/** One context of a browser while a flow runs in it. */
export class LiveSession implements FlowSession {
  readonly context: BrowserContext;
  readonly ended: Promise<never>;
  readonly #flow: Pick<Flow, 'limits' | 'overlays' | 'dialogs'>;
  readonly #onEffect: () => void;
  #active: Page;
  #effects = 0;
  #troubles: PageTrouble[] = [];
  #fail!: (error: Error) => void;
  /** Tabs of the flow, in the order they opened; looks beside it are not among them. */
  readonly #tabs: Page[] = [];
  readonly #beside = new Set<Page>();
  #openingBeside = 0;

  private constructor(context: BrowserContext, first: Page, flow: Pick<Flow, 'limits' | 'overlays' | 'dialogs'>, onEffect: () => void) {
    this.context = context;
    this.#flow = flow;
    this.#onEffect = onEffect;
    this.#active = first;
    this.ended = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // Nobody may be listening at the moment it happens.
    this.ended.catch(() => undefined);
  }

  /**
   * Takes over a fresh context with one page.
   * @param onEffect told of every request that may change something, when it leaves.
   */
  static async begin(first: Page, flow: Pick<Flow, 'limits' | 'overlays' | 'dialogs'>, onEffect: () => void): Promise<LiveSession> {
    const context = first.context();
    const session = new LiveSession(context, first, flow, onEffect);
    await session.#watch(first);
    session.#tabs.push(first);
    context.on('page', (page) => session.#opened(page));
    return session;
  }

  /** The tabs of the flow, in order. */
  tabs(): readonly Page[] {
    return this.#tabs;
  }

  page(): Page {
    return this.#active;
  }

  /** Ends the session from outside, e.g. for a limit. */
  end(error: BrowserError): void {
    this.#fail(error);
  }

  takeEffects(): number {
    const count = this.#effects;
    this.#effects = 0;
    return count;
  }

  /** What went wrong since it was last asked. */
  takeTroubles(): readonly PageTrouble[] {
    const troubles = this.#troubles;
    this.#troubles = [];
    return troubles;
  }

  async turnTo(which: 'newest' | 'first' | 'close'): Promise<void> {
    if (which === 'close') {
      if (this.#tabs.length < 2) throw stepFailed('the last tab cannot be closed');
      await this.#active.close();
      this.#active = this.#last();
    } else {
      this.#active = which === 'first' ? (this.#tabs[0] ?? this.#active) : this.#last();
    }
    await this.#active.bringToFront();
  }

  /** Makes an open tab the one that steps act on. */
  activate(page: Page): void {
    this.#active = page;
  }

  /** Opens one more tab of the flow, e.g. one that was open before. */
  async openTab(): Promise<Page> {
    return this.context.newPage();
  }

  async extraTab(): Promise<Page> {
    this.#openingBeside += 1;
    try {
      const page = await this.context.newPage();
      this.#beside.add(page);
      const at = this.#tabs.indexOf(page);
      if (at >= 0) this.#tabs.splice(at, 1);
      return page;
    } finally {
      this.#openingBeside -= 1;
    }
  }

  async adopt(page: Page): Promise<void> {
    const before = this.#active;
    this.#beside.delete(page);
    const at = this.#tabs.indexOf(before);
    this.#tabs.splice(at < 0 ? this.#tabs.length : at, at < 0 ? 0 : 1, page);
    this.#active = page;
    await before.close();
  }

  #last(): Page {
    return this.#tabs.at(-1) ?? this.#active;
  }

  #opened(page: Page): void {
    if (this.#openingBeside === 0) this.#tabs.push(page);
    void this.#watch(page).catch(() => undefined); // it closed again already
    if (this.#tabs.length > this.#flow.limits.pages) this.end(new BrowserError('SessionLimit', `more than ${String(this.#flow.limits.pages)} pages are open: limits.pages may be raised`));
  }

  async #watch(page: Page): Promise<void> {
    page.on('close', () => {
      const at = this.#tabs.indexOf(page);
      if (at >= 0) this.#tabs.splice(at, 1);
      if (this.#active === page && this.#tabs.length > 0) this.#active = this.#last();
    });
    page.on('crash', () => this.end(new BrowserError('PageCrashed', 'the page crashed, perhaps for want of memory')));
    page.on('request', (request) => {
      if (SAFE_METHODS.has(request.method()) || !EFFECT_RESOURCES.has(request.resourceType())) return;
      this.#effects += 1;
      this.#onEffect();
    });
    page.on('requestfailed', (request) => this.#note('network', `${request.method()} ${withoutQuery(request.url())}: ${request.failure()?.errorText ?? 'failed'}`));
    page.on('response', (response) => {
      if (response.status() >= 400) this.#note('network', `${response.request().method()} ${withoutQuery(response.url())}: ${String(response.status())}`);
    });
    page.on('console', (message) => {
      if (message.type() === 'error') this.#note('console', message.text());
    });
    page.on('pageerror', (error) => this.#note('console', error.message));
    page.on('dialog', (dialog) => {
      this.#note('dialog', `${dialog.type()}: ${dialog.message()}`);
      const answered = this.#flow.dialogs === 'accept' ? dialog.accept() : dialog.dismiss();
      answered.catch(() => undefined); // the page went away with it
    });
    for (const { on, click } of this.#flow.overlays) {
      await page.addLocatorHandler(locate(page, on, { input: {}, vars: {} }).first(), async () => {
        await locate(page, click, { input: {}, vars: {} }).first().click({ timeout: 5_000 });
      });
    }
  }

  #note(kind: PageTrouble['kind'], text: string): void {
    if (this.#troubles.length < MAX_TROUBLES) this.#troubles.push({ kind, text: text.slice(0, MAX_TEXT) });
  }
}
