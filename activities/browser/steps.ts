import type { LocatorScreenshotOptions, Page, PageScreenshotOptions, Response } from 'playwright-core';
import { HalError } from '../../schemas/errors.ts';
import type { Leaf, LeafOf } from '../../schemas/browser/flow.ts';
import type { Locator } from '../../schemas/browser/locator.ts';
import { stepFailed } from './browser-error.ts';
import type { Compared } from './compared.ts';
import { waitFor } from './conditions.ts';
import { evaluate, fill, type FlowScope } from './expressions.ts';
import { describeLocator, find, locate, type Hit } from './locating.ts';
import { extract, isTimeout } from './reading.ts';

/** What steps act on: one context of a browser with its tabs. */
export interface Tabs {
  /** The tab that steps act on. */
  page(): Page;
  /** Makes another tab the one that steps act on. @throws {BrowserError} StepFailed when there is none. */
  turnTo(which: 'newest' | 'first' | 'close'): Promise<void>;
}

/** What a step needs from outside of the page. */
export interface StepPorts {
  readonly tabs: Tabs;
  /** A value of the vault, for a page of this address. @throws {BrowserError} StepFailed when the credential is not for it. */
  secret(reference: NonNullable<LeafOf<'type'>['secret']>, url: string): Promise<string>;
  /** Keeps bytes beside the run; answers the reference that stands for them. */
  keep(bytes: Uint8Array, name: string, mediaType: string): Promise<string>;
  /**
   * Compares the page, which `shoot` takes a picture of, with its baseline.
   * @throws {ComparisonFailed} PictureDiffers when it differs; StepFailed when there is no baseline and the flow wants one.
   */
  compare(step: LeafOf<'compare'>, page: Page, shoot: () => Promise<Buffer>, timeoutMs: number): Promise<Compared>;
  readonly signal: AbortSignal;
}

/** A file that a step handed to a page (`up`), or took from it (`down`). */
export interface StepFile {
  readonly direction: 'up' | 'down';
  readonly name: string;
  readonly mediaType: string;
  readonly content: Buffer;
  /** What stands for it, where it is kept beside the run. */
  readonly reference?: string;
}

/** What came of a step. */
export interface StepOutcome {
  /** The element it acted on, in words. */
  readonly target: string | null;
  /** Which of the ways to the element was taken: 0 for the locator itself, else which of `or`; null without an element. */
  readonly way: number | null;
  /** Variable that it set. */
  readonly set?: { readonly as: string; readonly value: unknown };
  readonly files?: readonly StepFile[];
  /** A picture of the page and its baseline. */
  readonly compared?: Compared;
  /** Whether it was left out because its element never came. */
  readonly skipped?: boolean;
}

/** A picture that was begun has this long at least, ms: that the page never stood still says more than that its last picture came too late. */
const BEGUN_PICTURE_MS = 5_000;

const MEDIA_TYPE_LENGTH = 100;

const NOTHING: StepOutcome = { target: null, way: null };

/**
 * Takes one step.
 * @throws {BrowserError} StepFailed, saying what was not there; Playwright's own errors for the rest.
 */
export async function takeStep(step: Leaf, scope: FlowScope, ports: StepPorts, timeoutMs: number): Promise<StepOutcome> {
  const { tabs } = ports;
  const deadline = Date.now() + timeoutMs;
  const left = (): number => Math.max(1, deadline - Date.now());
  switch (step.do) {
    case 'navigate':
      await tabs.page().goto(webAddress(fill(step.url, scope)), { waitUntil: step.until, timeout: timeoutMs });
      return NOTHING;
    case 'history':
      if (step.go === 'back') await tabs.page().goBack({ timeout: timeoutMs });
      else if (step.go === 'forward') await tabs.page().goForward({ timeout: timeoutMs });
      else await tabs.page().reload({ timeout: timeoutMs });
      return NOTHING;
    case 'click':
      return onElement(step, step.on, ({ element }) =>
        element.click({ button: step.button, clickCount: step.times, timeout: left(), ...(step.modifiers === undefined ? {} : { modifiers: step.modifiers }), ...(step.at === undefined ? {} : { position: step.at }) }),
      );
    case 'type':
      return onElement(step, step.into, async ({ element }) => {
        const text = step.secret === undefined ? fill(step.text ?? '', scope) : await ports.secret(step.secret, tabs.page().url());
        if (step.byKey) {
          if (step.clear) await element.clear({ timeout: left() });
          await element.pressSequentially(text, { timeout: left() });
        } else if (step.clear) await element.fill(text, { timeout: left() });
        else await element.pressSequentially(text, { timeout: left() });
        if (step.submit) await element.press('Enter', { timeout: left() });
      });
    case 'select':
      return onElement(step, step.from, async ({ element }) => {
        await element.selectOption(step.options.map((option) => ({ label: fill(option, scope) })), { timeout: Math.min(left(), 2000) }).catch(async (error: unknown) => {
          if (!isTimeout(error)) throw error;
          await element.selectOption(step.options.map((option) => fill(option, scope)), { timeout: left() });
        });
      });
    case 'check':
      return onElement(step, step.on, ({ element }) => element.setChecked(step.checked, { timeout: left() }));
    case 'press': {
      const times = typeof step.times === 'number' ? step.times : Number(evaluate(step.times, scope));
      const key = fill(step.key, scope);
      if (step.on === undefined) {
        for (let pressed = 0; pressed < times; pressed += 1) await tabs.page().keyboard.press(key);
        return NOTHING;
      }
      return onElement(step, step.on, async ({ element }) => {
        for (let pressed = 0; pressed < times; pressed += 1) await element.press(key, { timeout: left() });
      });
    }
    case 'hover':
      return onElement(step, step.on, ({ element }) => element.hover({ timeout: left() }));
    case 'focus':
      return onElement(step, step.on, ({ element }) => element.focus({ timeout: left() }));
    case 'scroll':
      return scroll(step);
    case 'drag':
      return onElement(step, step.from, async ({ element }) => {
        if (step.to !== undefined) await element.dragTo(locate(tabs.page(), step.to, scope).first(), { timeout: left() });
        else await dragBy(tabs.page(), await element.boundingBox({ timeout: left() }), step.by ?? { x: 0, y: 0 });
      });
    case 'upload':
      return upload(step);
    case 'download':
      return download(step);
    case 'wait': {
      if (!(await waitFor(() => tabs.page(), step.for, scope, timeoutMs, ports.signal))) {
        if (step.ifMissing === 'skip') return { ...NOTHING, skipped: true };
        throw stepFailed(`what was waited for did not come within ${String(timeoutMs / 1000)} s`);
      }
      return NOTHING;
    }
    case 'pause':
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, step.seconds * 1000);
        ports.signal.addEventListener('abort', () => {
          clearTimeout(timer);
          reject(ports.signal.reason instanceof Error ? ports.signal.reason : new Error('aborted'));
        }, { once: true });
      });
      return NOTHING;
    case 'extract': {
      const value = await extract(tabs.page(), step, scope, timeoutMs);
      const from = step.on ?? step.list ?? step.table;
      return { target: from === undefined ? null : describeLocator(from), way: null, set: { as: step.as, value } };
    }
    case 'assert':
      if (!(await waitFor(() => tabs.page(), step.that, scope, timeoutMs, ports.signal))) throw stepFailed('what was asserted does not hold');
      return NOTHING;
    case 'set':
      return { ...NOTHING, set: { as: step.as, value: evaluate(step.value, scope) } };
    case 'screenshot': {
      const page = tabs.page();
      const picture = step.of === undefined ? await page.screenshot({ fullPage: step.fullPage, timeout: timeoutMs }) : await locate(page, step.of, scope).first().screenshot({ timeout: timeoutMs });
      return { ...NOTHING, set: { as: step.as, value: await ports.keep(picture, `${step.as}.png`, 'image/png') } };
    }
    case 'compare':
      return compare(step);
    case 'pdf':
      return { ...NOTHING, set: { as: step.as, value: await ports.keep(await tabs.page().pdf({ printBackground: true }), `${step.as}.pdf`, 'application/pdf') } };
    case 'tab':
      await tabs.turnTo(step.to);
      return NOTHING;
    case 'hand-over':
      throw new HalError('Internal', 'a hand-over is the workflow\'s step');
    case 'act':
    case 'observe':
      throw new HalError('Internal', 'words are turned into steps before they are taken');
  }

  async function onElement(leaf: Leaf, locator: Locator, act: (hit: Hit) => Promise<unknown>): Promise<StepOutcome> {
    const hit = await find(tabs.page(), locator, scope, timeoutMs, ports.signal);
    if (hit === undefined) {
      if (leaf.ifMissing === 'skip') return { target: describeLocator(locator), way: null, skipped: true };
      throw stepFailed(`there is no ${describeLocator(locator)} on the page`);
    }
    await act(hit);
    return { target: hit.description, way: hit.way };
  }

  async function scroll({ to, by, inside }: LeafOf<'scroll'>): Promise<StepOutcome> {
    if (to !== undefined) return onElement(step, to, ({ element }) => element.scrollIntoViewIfNeeded({ timeout: left() }));
    const { x, y } = by ?? { x: 0, y: 600 };
    if (inside === undefined) {
      await tabs.page().mouse.wheel(x, y);
      return NOTHING;
    }
    return onElement(step, inside, async ({ element }) => {
      await element.hover({ timeout: left() });
      await tabs.page().mouse.wheel(x, y);
    });
  }

  async function upload(leaf: LeafOf<'upload'>): Promise<StepOutcome> {
    const files = leaf.files.map(({ name, content, mediaType }): StepFile => ({ direction: 'up', name, mediaType, content: Buffer.from(fill(content, scope)) }));
    const outcome = await onElement(leaf, leaf.into, ({ element }) => element.setInputFiles(files.map(({ name, mediaType, content }) => ({ name, mimeType: mediaType, buffer: content })), { timeout: left() }));
    return outcome.skipped === true ? outcome : { ...outcome, files };
  }

  async function compare(leaf: LeafOf<'compare'>): Promise<StepOutcome> {
    const page = tabs.page();
    const masked = leaf.mask.flatMap((locator) => [locator, ...(locator.or ?? [])]).map((locator) => locate(page, locator, scope));
    // What changes without the page being another one: animations are at their end, the caret is hidden, fonts are there.
    const how = (): PageScreenshotOptions & LocatorScreenshotOptions => ({ type: 'png', animations: 'disabled', caret: 'hide', scale: 'device', mask: [page.locator('input[type=password]'), ...masked], timeout: Math.max(left(), BEGUN_PICTURE_MS) });
    if (leaf.of === undefined) return { ...NOTHING, compared: await ports.compare(leaf, page, () => page.screenshot({ ...how(), fullPage: leaf.fullPage }), left()) };
    let compared: Compared | undefined;
    const outcome = await onElement(leaf, leaf.of, async ({ element }) => {
      compared = await ports.compare(leaf, page, () => element.screenshot(how()), left());
    });
    return { ...outcome, ...(compared === undefined ? {} : { compared }) };
  }

  async function download(leaf: LeafOf<'download'>): Promise<StepOutcome> {
    const page = tabs.page();
    const coming = page.waitForEvent('download', { timeout: timeoutMs });
    // Whatever fails first is the step's failure; the other must not go unhandled.
    coming.catch(() => undefined);
    // A download has no media type of its own: it is that of the answer which it came in.
    const types = new Map<string, string>();
    const note = (response: Response): void => {
      const type = response.headers()['content-type'];
      if (type !== undefined) types.set(response.url(), type.slice(0, MEDIA_TYPE_LENGTH));
    };
    page.context().on('response', note);
    try {
      const outcome = await onElement(leaf, leaf.on, ({ element }) => element.click({ timeout: left() }));
      const file = await coming;
      const chunks: Buffer[] = [];
      for await (const chunk of await file.createReadStream()) chunks.push(Buffer.from(chunk));
      const [name, content, mediaType] = [file.suggestedFilename(), Buffer.concat(chunks), types.get(file.url()) ?? 'application/octet-stream'];
      const reference = await ports.keep(content, name, mediaType);
      await file.delete();
      return { ...outcome, set: { as: leaf.as, value: { name, reference } }, files: [{ direction: 'down', name, mediaType, content, reference }] };
    } finally {
      page.context().off('response', note);
    }
  }
}

async function dragBy(page: Page, box: { x: number; y: number; width: number; height: number } | null, by: { x: number; y: number }): Promise<void> {
  if (box === null) throw stepFailed('what is dragged cannot be seen');
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + by.x / 2, y + by.y / 2, { steps: 5 });
  await page.mouse.move(x + by.x, y + by.y, { steps: 5 });
  await page.mouse.up();
}

/** An address of the web. @throws {BrowserError} StepFailed for any other scheme: `file:`, `chrome:` and their like are not for flows. */
export function webAddress(text: string): string {
  const url = URL.parse(text);
  if (url === null) throw stepFailed('the address is not a URL');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw stepFailed(`addresses begin with http: or https:, not ${url.protocol}`);
  if (url.username !== '' || url.password !== '') throw stepFailed('an address must not carry a user name or password: use the vault');
  return url.href;
}

