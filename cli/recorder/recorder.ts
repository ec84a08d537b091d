import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { chromium, type BrowserContext, type CDPSession, type Frame, type Page } from 'playwright-core';
import { pageEventSchema, type BrowserEvent, type PageEvent, type RecordedStep, type RecordedSteps } from './recorded-steps.ts';

const IN_PAGE = join(import.meta.dirname, 'in-page.js');
const BINDING = 'hal9Record';
/** The window that flows have where they do not say otherwise, pixels. */
const VIEWPORT = { width: 1280, height: 800 };
const START_MS = 60_000;
/** How long a page may take to become the one that is shown, and how often it is asked, milliseconds. */
const ARRIVAL_MS = 10_000;
const LOOK_MS = 50;

export interface RecorderOptions {
  /** Where the recording begins. */
  readonly url: string;
  readonly executablePath: string;
  readonly headless: boolean;
  /** TCP port on which the browser takes orders of its DevTools, for who records from another machine; default none. */
  readonly debuggingPort?: number | undefined;
  /** Gets what is done. */
  readonly steps: RecordedSteps;
  /** Told each step, also when it changed. */
  readonly onStep: (step: RecordedStep) => void;
  /** Told what could not be recorded. */
  readonly onProblem: (problem: string) => void;
}

/** A tab of the recording. */
interface Tab {
  readonly page: Page;
  /** Whether the page itself asked for the navigation that comes next: the person did not. */
  asked: boolean;
  /** Whether the person did something in it. Until then it is on its way to what it was opened for. */
  touched: boolean;
  /** Whether the person went back or forward, and is not there yet. */
  travels: boolean;
  /** Its place in the tab's history. */
  at: number;
}

/**
 * Opens a browser with a fresh profile and records what a person does in it, until they close it or the signal ends it.
 * @throws {Error} when the browser does not start or the address cannot be opened.
 */
export async function record(options: RecorderOptions, signal: AbortSignal): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), 'hal9-record-'));
  const { executablePath, headless, debuggingPort } = options;
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath,
      headless,
      viewport: VIEWPORT,
      timeout: START_MS,
      // Ctrl-C ends the recording, and what was recorded is still to be written.
      handleSIGINT: false,
      args: ['--no-first-run', '--disable-sync', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), ...(debuggingPort === undefined ? [] : [`--remote-debugging-port=${debuggingPort}`])],
    });
    await new Recorder(context, options).run(signal);
  } finally {
    // A browser that is just closing writes its last files.
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

class Recorder {
  readonly #context: BrowserContext;
  readonly #options: RecorderOptions;
  /** In the order they were opened. */
  readonly #tabs = new Map<Page, Tab>();
  /** The tab that steps act on. */
  #current: Tab | undefined;
  /** What is told in one order is recorded in that order, though for some of it the browser must be asked first. */
  #order: Promise<void> = Promise.resolve();

  constructor(context: BrowserContext, options: RecorderOptions) {
    this.#context = context;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const context = this.#context;
    const over = new Promise<void>((resolve) => {
      const look = (page: Page): unknown => page.once('close', () => context.pages().length === 0 && resolve());
      context.once('close', () => resolve());
      context.on('page', look);
      for (const page of context.pages()) look(page);
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
    try {
      await context.exposeBinding(BINDING, ({ page, frame }, told: unknown) => this.#heard(page, frame, told));
      await context.addInitScript({ path: IN_PAGE });
      const page = context.pages()[0] ?? (await context.newPage());
      const first = await this.#follow(page);
      this.#current = first;
      context.on('page', (opened) => this.#opened(opened));
      this.#add({ kind: 'navigate', url: plain(this.#options.url) }, first);
      first.asked = true;
      first.touched = true;
      await Promise.race([page.goto(this.#options.url, { waitUntil: 'commit', timeout: START_MS }), over]);
      await over;
      await this.#order;
    } finally {
      await context.close();
    }
  }

  #opened(page: Page): void {
    this.#then(async () => {
      const opener = await page.opener();
      if (page.isClosed()) return;
      // A tab that a click opened has a step; one of one's own has none.
      if (opener === null) this.#options.onProblem('a tab that you open yourself is not recorded: go on in one that the site opened');
      else await this.#follow(page);
    });
  }

  async #follow(page: Page): Promise<Tab> {
    const tab: Tab = { page, asked: false, touched: false, travels: false, at: 0 };
    this.#tabs.set(page, tab);
    page.once('close', () => this.#tabs.delete(page));
    // Somebody must listen, or questions of the page are answered before the person sees them.
    page.on('dialog', () => undefined);
    const cdp = await this.#context.newCDPSession(page);
    const main = (await cdp.send('Page.getFrameTree')).frameTree.frame.id;
    cdp.on('Page.javascriptDialogClosed', ({ result }) => {
      if (result) this.#options.steps.accepted();
    });
    cdp.on('Page.frameRequestedNavigation', ({ frameId, disposition }) => {
      if (frameId === main && disposition === 'currentTab') tab.asked = true;
    });
    cdp.on('Page.frameStartedNavigating', ({ frameId, navigationType, url }) => {
      if (frameId !== main || navigationType === 'sameDocument' || navigationType === 'historySameDocument') return;
      const byPage = tab.asked || !tab.touched;
      tab.asked = false;
      if (!byPage) this.#travelled(tab, navigationType, url);
    });
    const arrived = (frameId: string): void => {
      if (frameId === main) this.#then(() => this.#arrived(tab, cdp));
    };
    cdp.on('Page.frameNavigated', ({ frame }) => arrived(frame.id));
    cdp.on('Page.navigatedWithinDocument', ({ frameId }) => arrived(frameId));
    await cdp.send('Page.enable');
    return tab;
  }

  /** The person used what is above the page: the address, or the buttons beside it. */
  #travelled(tab: Tab, type: string, url: string): void {
    if (type === 'reload' || type === 'reloadBypassingCache') this.#then(async () => this.#add({ kind: 'history', go: 'reload' }, tab));
    else if (type === 'differentDocument') {
      if (/^https?:/.test(url)) this.#then(async () => this.#add({ kind: 'navigate', url: plain(url) }, tab));
    } else tab.travels = true;
  }

  async #arrived(tab: Tab, cdp: CDPSession): Promise<void> {
    const currentIndex = await placeInHistory(cdp);
    if (tab.travels && currentIndex !== tab.at) this.#add({ kind: 'history', go: currentIndex < tab.at ? 'back' : 'forward' }, tab);
    tab.travels = false;
    tab.at = currentIndex;
  }

  #heard(page: Page, frame: Frame, told: unknown): void {
    const parsed = pageEventSchema.safeParse(told);
    if (!parsed.success) return this.#options.onProblem('something that was done cannot be said as a step');
    const known = this.#tabs.get(page);
    if (parsed.data.kind === 'moves') {
      if (known !== undefined) known.asked = true;
      return;
    }
    if (known !== undefined) known.touched = true;
    this.#then(async () => {
      const tab = this.#tabs.get(page);
      if (tab === undefined) return;
      tab.touched = true;
      const within = frameOf(frame);
      if (within === null) return this.#options.onProblem('what is done in a frame inside of a frame is not recorded');
      this.#add(within === undefined ? parsed.data : inFrame(parsed.data, within), tab);
    });
  }

  #add(event: PageEvent | BrowserEvent, tab: Tab): void {
    const { steps, onStep, onProblem } = this.#options;
    const add = (each: PageEvent | BrowserEvent): void => {
      const step = steps.add(each);
      if (step !== undefined) onStep(step);
    };
    if (tab !== this.#current) {
      const open = [...this.#tabs.values()];
      if (tab !== open[0] && tab !== open.at(-1)) onProblem('of several tabs only the first and the newest can be turned to');
      add({ kind: 'tab', to: tab === open[0] ? 'first' : 'newest' });
      this.#current = tab;
    }
    add(event);
  }

  #then(work: () => Promise<void>): void {
    this.#order = this.#order.then(work).catch((error: unknown) => {
      // A tab may close while it is asked; what it had to say is on record.
      this.#options.onProblem(error instanceof Error ? error.message : String(error));
    });
  }
}

/** Without what is before the host: a password in an address is one. */
function plain(url: string): string {
  const address = URL.parse(url);
  if (address === null) return url;
  address.username = '';
  address.password = '';
  return address.href;
}

/** CSS selector of the frame an event comes from, as far as it can be told from outside: undefined for the page itself, null for a frame in a frame. */
function frameOf(frame: Frame): string | null | undefined {
  const parent = frame.parentFrame();
  if (parent === null) return undefined;
  if (parent.parentFrame() !== null) return null;
  const name = frame.name();
  if (name !== '') return `iframe[name=${JSON.stringify(name)}], iframe[id=${JSON.stringify(name)}]`;
  const address = URL.parse(frame.url());
  return address === null ? 'iframe' : `iframe[src*=${JSON.stringify(`${address.host}${address.pathname}`)}]`;
}

/** What the page knows of the frame is better than what is known from outside. */
function inFrame(event: PageEvent, frame: string): PageEvent {
  switch (event.kind) {
    case 'click':
    case 'check':
      return { ...event, on: { frame, ...event.on } };
    case 'type':
    case 'upload':
      return { ...event, into: { frame, ...event.into } };
    case 'select':
      return { ...event, from: { frame, ...event.from } };
    case 'press':
      return event.on === undefined ? event : { ...event, on: { frame, ...event.on } };
    case 'moves':
      return event;
  }
}

/** A page that comes out of the browser's cache of pages cannot be asked until it has taken the place of the other one. */
async function placeInHistory(cdp: CDPSession): Promise<number> {
  for (const until = performance.now() + ARRIVAL_MS; ; await delay(LOOK_MS)) {
    try {
      return (await cdp.send('Page.getNavigationHistory')).currentIndex;
    } catch (error) {
      if (performance.now() > until || !(error instanceof Error && error.message.includes('Not attached to an active page'))) throw error;
    }
  }
}
