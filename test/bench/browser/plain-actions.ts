import type { Browser, Locator, Page } from 'playwright-core';
import { flowSchema, type Flow } from '../../../schemas/browser/flow.ts';
import { BOOKING_LOGIN } from '../../browser/sites/booking.ts';

/** What the baseline takes of a page after each action: what HAL9 takes by default. */
const PICTURE = { type: 'jpeg', quality: 60, animations: 'disabled', caret: 'initial' } as const;

/**
 * The actions of the booking flow as a script would take them, in a context of its own and with nothing that outlives it.
 * @returns milliseconds of each action, with its picture where pictures are taken.
 */
export async function playPlainly(browser: Browser, draft: unknown, reference: string, pictures: boolean): Promise<number[]> {
  const flow = flowSchema.parse(draft);
  const context = await browser.newContext({ viewport: flow.viewport, locale: flow.locale, timezoneId: flow.timeZone });
  try {
    const page = await context.newPage();
    const times: number[] = [];
    for (const step of flow.steps) {
      const began = performance.now();
      await take(page, step, reference);
      // Nobody takes a picture of a text that was read; HAL9 does not either.
      if (pictures && step.do !== 'extract') await page.screenshot({ ...PICTURE, mask: [page.locator('input[type=password]')] });
      times.push(performance.now() - began);
    }
    return times;
  } finally {
    await context.close();
  }
}

async function take(page: Page, step: Flow['steps'][number], reference: string): Promise<void> {
  switch (step.do) {
    case 'navigate':
      await page.goto(step.url);
      return;
    case 'type':
      await element(page, step.into).fill(step.secret === undefined ? (step.text ?? '').replace('{{ input.reference }}', reference) : step.secret.field === 'username' ? BOOKING_LOGIN.username : BOOKING_LOGIN.password);
      return;
    case 'click':
      await element(page, step.on).click();
      return;
    case 'select':
      await element(page, step.from).selectOption(step.options.map((label) => ({ label })));
      return;
    case 'check':
      await element(page, step.on).check();
      return;
    case 'wait':
      await page.getByText(step.for.text ?? '').first().waitFor();
      return;
    case 'assert':
      await page.getByText(step.that.text ?? '').first().waitFor();
      return;
    case 'extract':
      await element(page, step.on ?? {}).innerText();
      return;
    default:
      throw new Error(`the baseline has no ${step.do}`);
  }
}

function element(page: Page, { role, name, label, testId }: { role?: string | undefined; name?: string | undefined; label?: string | undefined; testId?: string | undefined }): Locator {
  if (role === 'button' || role === 'link') return page.getByRole(role, name === undefined ? {} : { name });
  if (label !== undefined) return page.getByLabel(label);
  return page.getByTestId(testId ?? '');
}
