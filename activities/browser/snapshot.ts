import type { Page } from 'playwright-core';
import { without } from './redaction.ts';

/** Longest snapshot that is kept or told, characters: what reads it pays by length. */
const MAX_SNAPSHOT = 40_000;
const LOOK_MS = 10_000;

/** What must be known of a page before it is put into words. */
interface Inside {
  readonly elements: number;
  /** What stands in password fields. */
  readonly hidden: readonly string[];
}

/**
 * The page as assistive technology has it (roles, names, texts), without what stands in password fields.
 * @param redact takes secrets out of a text.
 * @param most elements a page may have: putting one into words takes some 0.07 ms. Default any number.
 * @returns undefined for a page that has more.
 * @throws {TimeoutError} of Playwright when the page does not answer within ten seconds.
 */
export async function snapshotOf(page: Page, redact: (text: string) => string): Promise<string>;
export async function snapshotOf(page: Page, redact: (text: string) => string, most: number): Promise<string | undefined>;
export async function snapshotOf(page: Page, redact: (text: string) => string, most = Infinity): Promise<string | undefined> {
  const { elements, hidden } = await inside(page);
  if (elements > most) return undefined;
  const clean = redact(without(await page.ariaSnapshot({ timeout: LOOK_MS }), hidden));
  return clean.length <= MAX_SNAPSHOT ? clean : `${clean.slice(0, MAX_SNAPSHOT)}\n# ${String(clean.length - MAX_SNAPSHOT)} more characters are left out`;
}

async function inside(page: Page): Promise<Inside> {
  // By a locator, which looks into shadow roots too.
  return page.locator('html, input[type=password]').evaluateAll((found: readonly { value?: unknown; ownerDocument: { getElementsByTagName(name: string): { length: number } } }[]) => ({
    elements: found[0]?.ownerDocument.getElementsByTagName('*').length ?? 0,
    hidden: found.flatMap(({ value }) => (typeof value === 'string' && value !== '' ? [value] : [])),
  }));
}
