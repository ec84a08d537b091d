import type { Locator as Found, Page } from 'playwright-core';
import { z } from 'zod';
import type { LeafOf, Reading } from '../../schemas/browser/flow.ts';
import { stepFailed } from './browser-error.ts';
import { captureFirst, type FlowScope } from './expressions.ts';
import { describeLocator, locate } from './locating.ts';

/** Most elements one step reads. */
const MAX_ITEMS = 10_000;
const READ_MS = 5_000;

/**
 * Reads what an `extract` step asks for.
 * @throws {HalError} InvalidInput when an element is missing or a value is not of the type asked for.
 */
export async function extract(page: Page, step: LeafOf<'extract'>, scope: FlowScope, timeoutMs: number): Promise<unknown> {
  if (step.from !== undefined) return typed(step.from === 'url' ? page.url() : await page.title(), step, step.as);
  if (step.table !== undefined) return readTable(await present(locate(page, step.table, scope), describeLocator(step.table), timeoutMs));
  if (step.list !== undefined) {
    const items = locate(page, step.list, scope);
    await items.first().waitFor({ state: 'attached', timeout: timeoutMs }).catch((error: unknown) => {
      if (!isTimeout(error)) throw error;
    });
    const found = await bounded(items);
    if (step.fields === undefined) return Promise.all(found.map((item, index) => one(item, step, `${step.as}[${String(index)}]`)));
    const rows: Record<string, unknown>[] = [];
    for (const [index, item] of found.entries()) rows.push(await fieldsOf(page, item, step.fields, scope, `${step.as}[${String(index)}]`));
    return rows;
  }
  if (step.on === undefined) throw stepFailed(`extract ${step.as}: one of on, list, table, from is needed`);
  const place = locate(page, step.on, scope);
  if (step.read === 'count') return place.count();
  if (step.read === 'visible') return (await place.count()) > 0 && place.first().isVisible();
  const described = describeLocator(step.on);
  if (step.all) {
    await place.first().waitFor({ state: 'attached', timeout: timeoutMs });
    return Promise.all((await bounded(place)).map((item, index) => one(item, step, `${step.as}[${String(index)}]`)));
  }
  if (step.optional && (await place.count()) === 0) return null;
  return one(await present(place, described, timeoutMs), step, step.as);
}

async function fieldsOf(page: Page, item: Found, fields: Readonly<Record<string, Reading>>, scope: FlowScope, place: string): Promise<Record<string, unknown>> {
  const row: Record<string, unknown> = {};
  for (const [name, reading] of Object.entries(fields)) {
    if (reading.on === undefined) {
      row[name] = await one(item, reading, `${place}.${name}`);
      continue;
    }
    // The field is looked for inside of the item: the same locator, begun there.
    const inside = item.locator(locate(page, reading.on, scope));
    if (reading.read === 'count') row[name] = await inside.count();
    else if (reading.read === 'visible') row[name] = (await inside.count()) > 0 && (await inside.first().isVisible());
    else if ((await inside.count()) === 0) {
      if (!reading.optional) throw stepFailed(`${place}.${name}: there is no ${describeLocator(reading.on)}`);
      row[name] = null;
    } else row[name] = await one(inside.first(), reading, `${place}.${name}`);
  }
  return row;
}

async function one(element: Found, reading: Pick<Reading, 'read' | 'attribute' | 'match' | 'type' | 'optional'>, place: string): Promise<unknown> {
  const options = { timeout: READ_MS };
  switch (reading.read) {
    case 'text':
      return typed(await element.innerText(options).catch(() => element.textContent(options).then((text) => text ?? '')), reading, place);
    case 'value':
      return typed(await element.inputValue(options), reading, place);
    case 'attribute': {
      const value = await element.getAttribute(reading.attribute ?? '', options);
      if (value !== null) return typed(value, reading, place);
      if (reading.optional) return null;
      throw stepFailed(`${place}: the element has no attribute ${reading.attribute ?? ''}`);
    }
    case 'checked':
      return element.isChecked(options);
    case 'visible':
      return element.isVisible();
    case 'count':
      return element.count();
  }
}

/** A text as the type that is asked for. */
function typed(text: string, { match, type, optional }: Pick<Reading, 'match' | 'type' | 'optional'>, place: string): unknown {
  const part = match === undefined ? text.trim() : captureFirst(text, match);
  if (part === undefined || (part === '' && type !== 'text')) {
    if (optional) return null;
    throw stepFailed(part === undefined ? `${place}: the text does not match ${String(match)}` : `${place}: the text is empty`);
  }
  switch (type) {
    case 'text':
      return part;
    case 'boolean':
      if (/^(true|yes|on|1)$/i.test(part)) return true;
      if (/^(false|no|off|0)$/i.test(part)) return false;
      throw stepFailed(`${place}: the text is neither yes nor no`);
    case 'number':
    case 'integer': {
      const number = numberOf(part);
      if (number === undefined || (type === 'integer' && !Number.isInteger(number))) throw stepFailed(`${place}: the text is not ${type === 'integer' ? 'a whole number' : 'a number'}`);
      return number;
    }
  }
}

/** `$1,234.50`, `1.234,50 €`, `-7`: the last separator followed by other than three digits is the decimal one. */
export function numberOf(text: string): number | undefined {
  const digits = /-?[\d.,'\s\u00A0\u202F]*\d/.exec(text)?.[0].replace(/['\s\u00A0\u202F]/g, '');
  if (digits === undefined) return undefined;
  const last = Math.max(digits.lastIndexOf('.'), digits.lastIndexOf(','));
  if (last < 0) return Number(digits);
  const [separator, other] = digits[last] === '.' ? ['.', ','] : [',', '.'];
  const repeated = digits.indexOf(separator) !== last;
  const grouped = repeated || (separator === ',' && digits.length - last - 1 === 3 && !digits.includes(other));
  const number = Number(grouped ? digits.replaceAll(/[.,]/g, '') : `${digits.slice(0, last).replaceAll(/[.,]/g, '')}.${digits.slice(last + 1)}`);
  return Number.isFinite(number) ? number : undefined;
}

/** The page may be hostile: what comes from it is looked at like any other input. */
const tableRows = z.array(z.array(z.object({ header: z.boolean(), text: z.string() })));
/** What this reads of a row, in the page: the product has no types of the DOM. */
interface PageRow {
  querySelectorAll(selector: string): Iterable<{ readonly tagName: string; readonly innerText?: string }>;
}
const readRows = (rows: readonly PageRow[]): unknown => rows.map((row) => [...row.querySelectorAll('th, td')].map((cell) => ({ header: cell.tagName === 'TH', text: String(cell.innerText ?? '').trim() })));

async function readTable(table: Found): Promise<Record<string, string>[]> {
  const rows = tableRows.parse(await table.locator('css=tr').evaluateAll(readRows));
  const [first] = rows;
  if (first === undefined) return [];
  const headed = first.length > 0 && first.every(({ header }) => header);
  const names = headed ? first.map(({ text }, index) => text || `column${String(index + 1)}`) : first.map((_, index) => `column${String(index + 1)}`);
  return rows.slice(headed ? 1 : 0, MAX_ITEMS).map((row) => Object.fromEntries(row.map(({ text }, index) => [names[index] ?? `column${String(index + 1)}`, text])));
}

async function present(found: Found, described: string, timeoutMs: number): Promise<Found> {
  const first = found.first();
  await first.waitFor({ state: 'attached', timeout: timeoutMs }).catch((error: unknown) => {
    if (isTimeout(error)) throw stepFailed(`there is no ${described}`);
    throw error;
  });
  return first;
}

async function bounded(found: Found): Promise<Found[]> {
  const count = await found.count();
  if (count > MAX_ITEMS) throw stepFailed(`${String(count)} elements are more than the ${String(MAX_ITEMS)} one step reads`);
  return found.all();
}

/** Playwright's own time-out. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError';
}
