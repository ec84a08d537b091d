import type { Page } from 'playwright-core';
import { without } from './redaction.ts';

/** Longest snapshot that is kept or told, characters: what reads it pays by length. */
const MAX_SNAPSHOT = 40_000;
const LOOK_MS = 10_000;
/** A page of more elements takes seconds to put into words. */
const MOST_ELEMENTS = 20_000;

/** What must be known of a page before it is put into words. */
interface Inside {
  readonly elements: number;
  /** What stands in password fields. */
  readonly hidden: readonly string[];
}

/**
 * The page as assistive technology has it (roles, names, texts), without what stands in password fields.
 * @param redact takes secrets out of a text.
 * @param most elements a page may have: putting one into words takes some 0.07 ms. Default 20,000.
 * @returns undefined for a page that has more.
 * @throws {TimeoutError} of Playwright when the page does not answer within ten seconds.
 */
export async function snapshotWithin(page: Page, redact: (text: string) => string, most = MOST_ELEMENTS): Promise<string | undefined> {
  const before = await inside(page);
  if (before.elements > most) return undefined;
  const tree = await page.ariaSnapshot({ timeout: LOOK_MS });
  return worded(tree, before.hidden, redact);
}

/** As {@link snapshotWithin}, of any page. */
export async function snapshotOf(page: Page, redact: (text: string) => string): Promise<string> {
  const [tree, { hidden }] = await Promise.all([page.ariaSnapshot({ timeout: LOOK_MS }), inside(page)]);
  return worded(tree, hidden, redact);
}

async function inside(page: Page): Promise<Inside> {
  // By a locator, which looks into shadow roots too.
  return page.locator('html, input[type=password]').evaluateAll((found: readonly { value?: unknown; ownerDocument: { getElementsByTagName(name: string): { length: number } } }[]) => ({
    elements: found[0]?.ownerDocument.getElementsByTagName('*').length ?? 0,
    hidden: found.flatMap(({ value }) => (typeof value === 'string' && value !== '' ? [value] : [])),
  }));
}

function worded(tree: string, hidden: readonly string[], redact: (text: string) => string): string {
  const clean = redact(without(tree, hidden));
  return clean.length <= MAX_SNAPSHOT ? clean : `${clean.slice(0, MAX_SNAPSHOT)}\n# ${String(clean.length - MAX_SNAPSHOT)} more characters are left out`;
}
