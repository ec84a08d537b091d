import type { Frame, FrameLocator, Locator as Found, Page } from 'playwright-core';
import { HalError } from '../../schemas/errors.ts';
import type { Locator } from '../../schemas/browser/locator.ts';
import { evaluate, fill, type FlowScope } from './expressions.ts';

/** How long the first way alone is looked for before the others are tried too, ms: late content is not a changed layout. */
const PREFERENCE_MS = 1_500;
/** Between two looks, ms: soon again at first, since most pages are ready or nearly. */
const LOOKS_MS = [5, 10, 20, 30];
const LATER_LOOKS_MS = 50;

/** An element and the way it was found. */
export interface Hit {
  readonly element: Found;
  /** In words, e.g. `button "Save"`. */
  readonly description: string;
  /** 0 for the locator itself, else which of `or`. */
  readonly way: number;
}

/** The Playwright locator of a description, not looked at yet. */
export function locate(page: Page | Frame, locator: Locator, scope: FlowScope): Found {
  const root: Page | Frame | FrameLocator = locator.frame === undefined ? page : page.frameLocator(locator.frame);
  return narrowed(page, begun(locator.within === undefined ? root : locate(page, locator.within, scope), locator, scope), locator, scope);
}

function begun(root: Page | Frame | FrameLocator | Found, locator: Locator, scope: FlowScope): Found {
  const exact = locator.exact === undefined ? {} : { exact: locator.exact };
  if (locator.role !== undefined) return root.getByRole(roleOf(locator.role), locator.name === undefined ? {} : { name: fill(locator.name, scope), ...exact });
  if (locator.label !== undefined) return root.getByLabel(fill(locator.label, scope), exact);
  if (locator.text !== undefined) return root.getByText(fill(locator.text, scope), exact);
  if (locator.placeholder !== undefined) return root.getByPlaceholder(fill(locator.placeholder, scope), exact);
  if (locator.title !== undefined) return root.getByTitle(fill(locator.title, scope), exact);
  if (locator.altText !== undefined) return root.getByAltText(fill(locator.altText, scope), exact);
  if (locator.testId !== undefined) return root.getByTestId(fill(locator.testId, scope));
  return root.locator(`css=${fill(locator.css ?? '*', scope)}`);
}

function narrowed(page: Page | Frame, found: Found, locator: Locator, scope: FlowScope): Found {
  let narrow = found;
  if (locator.hasText !== undefined) narrow = narrow.filter({ hasText: fill(locator.hasText, scope) });
  // `has` is relative to the element itself: Playwright takes a locator that starts at the page.
  if (locator.has !== undefined) narrow = narrow.filter({ has: locate(page, locator.has, scope) });
  if (locator.visible !== undefined) narrow = narrow.filter({ visible: locator.visible });
  if (locator.nth !== undefined) narrow = narrow.nth(indexOf(locator.nth, scope));
  return narrow;
}

/**
 * Waits for an element and chooses the way to it: the locator itself, or after a while the first of `or` that finds something.
 * @returns undefined when none did in time.
 */
export async function find(page: Page | Frame, locator: Locator, scope: FlowScope, withinMs: number, signal: AbortSignal): Promise<Hit | undefined> {
  const ways = [locator, ...(locator.or ?? [])];
  const began = Date.now();
  for (let look = 0; ; look += 1) {
    const waited = Date.now() - began;
    const tried = waited >= Math.min(PREFERENCE_MS, withinMs / 2) ? ways : ways.slice(0, 1);
    for (const [way, each] of tried.entries()) {
      const element = locate(page, each, scope);
      const count = await element.count();
      if (count > 0) return { element: count === 1 || each.nth !== undefined ? element : await preferVisible(element), description: describeLocator(each), way };
    }
    if (waited >= withinMs) return undefined;
    signal.throwIfAborted();
    await untilNextLook(look);
  }
}

/** Waits until it is time for another look. */
export async function untilNextLook(look: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, LOOKS_MS[look] ?? LATER_LOOKS_MS));
}

/** Of several, the first that can be seen: hidden doubles (menus, templates) are common. */
async function preferVisible(element: Found): Promise<Found> {
  const visible = element.filter({ visible: true });
  return (await visible.count()) > 0 ? visible.first() : element.first();
}

/** A locator in words: those of the flow, since what fills them may be personal. */
export function describeLocator(locator: Locator): string {
  const text = (value: string): string => JSON.stringify(value);
  const parts: string[] = [];
  if (locator.role !== undefined) parts.push(`${locator.role}${locator.name === undefined ? '' : ` ${text(locator.name)}`}`);
  if (locator.label !== undefined) parts.push(`field ${text(locator.label)}`);
  if (locator.text !== undefined) parts.push(`text ${text(locator.text)}`);
  if (locator.placeholder !== undefined) parts.push(`placeholder ${text(locator.placeholder)}`);
  if (locator.title !== undefined) parts.push(`title ${text(locator.title)}`);
  if (locator.altText !== undefined) parts.push(`picture ${text(locator.altText)}`);
  if (locator.testId !== undefined) parts.push(`test id ${text(locator.testId)}`);
  if (locator.css !== undefined) parts.push(locator.css);
  if (locator.hasText !== undefined) parts.push(`with ${text(locator.hasText)}`);
  if (locator.has !== undefined) parts.push(`holding ${describeLocator(locator.has)}`);
  if (locator.nth !== undefined) parts.push(`number ${String(locator.nth)}`);
  if (locator.within !== undefined) parts.push(`in ${describeLocator(locator.within)}`);
  return parts.join(' ');
}

function indexOf(nth: number | string, scope: FlowScope): number {
  if (typeof nth === 'number') return nth;
  const value = Number(evaluate(nth, scope));
  if (!Number.isInteger(value)) throw new HalError('InvalidInput', `${nth} must answer a whole number`);
  return value;
}

type Role = Parameters<Page['getByRole']>[0];

const ROLES: ReadonlySet<string> = new Set<Role>([
  'alert', 'alertdialog', 'application', 'article', 'banner', 'blockquote', 'button', 'caption', 'cell', 'checkbox', 'code', 'columnheader', 'combobox', 'complementary', 'contentinfo', 'definition', 'deletion',
  'dialog', 'directory', 'document', 'emphasis', 'feed', 'figure', 'form', 'generic', 'grid', 'gridcell', 'group', 'heading', 'img', 'insertion', 'link', 'list', 'listbox', 'listitem', 'log', 'main', 'marquee',
  'math', 'menu', 'menubar', 'menuitem', 'menuitemcheckbox', 'menuitemradio', 'meter', 'navigation', 'none', 'note', 'option', 'paragraph', 'presentation', 'progressbar', 'radio', 'radiogroup', 'region', 'row',
  'rowgroup', 'rowheader', 'scrollbar', 'search', 'searchbox', 'separator', 'slider', 'spinbutton', 'status', 'strong', 'subscript', 'superscript', 'switch', 'tab', 'table', 'tablist', 'tabpanel', 'term', 'textbox',
  'time', 'timer', 'toolbar', 'tooltip', 'tree', 'treegrid', 'treeitem',
]);

/** @throws {HalError} InvalidInput for a word that is no role. */
export function roleOf(text: string): Role {
  if (isRole(text)) return text;
  throw new HalError('InvalidInput', `"${text}" is not an ARIA role`);
}

function isRole(text: string): text is Role {
  return ROLES.has(text);
}
