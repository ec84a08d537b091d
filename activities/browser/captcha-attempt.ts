import { setTimeout as sleep } from 'node:timers/promises';
import type { Locator as Found, Page } from 'playwright-core';
import { z } from 'zod';
import { stepFailed } from './browser-error.ts';
import { isAnswered, isShown, type Captcha } from './captcha.ts';

/** What a model that sees a CAPTCHA may answer; neither says that it cannot solve it. */
export const captchaAnswerSchema = z.strictObject({
  text: z.string().min(1).max(100).optional().describe('What is to be typed, where the picture shows something to read or to compute.'),
  places: z.array(z.strictObject({ x: z.number(), y: z.number() })).min(1).max(20).optional().describe('Otherwise: what is to be clicked, in this order, in pixels from the top left corner of the picture; the button that confirms last, where there is one.'),
});
export type CaptchaAnswer = z.output<typeof captchaAnswerSchema>;

/** A CAPTCHA as a model gets to see it. */
export interface CaptchaPicture {
  /** PNG; a pixel is one of CSS. */
  readonly bytes: Buffer;
  /** Where it lay in the window, CSS pixels. */
  readonly box: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
}

const PICTURE_MS = 10_000;
const ACT_MS = 5_000;
/** Some fields are looked at while one types; the others wait for Enter, ms. */
const AT_ONCE_MS = 1_000;
/** How long a site takes to say whether an answer was right, ms. */
const VERDICT_MS = 20_000;
const LOOK_MS = 100;

/**
 * A picture of the CAPTCHA alone, without what stands in password fields, and without anything that shows one of the secrets.
 * Whatever fails here, no picture leaves. @throws Playwright's own errors.
 */
export async function pictureOf(page: Page, captcha: Captcha, secrets: ReadonlySet<string>): Promise<CaptchaPicture> {
  // What a widget opens when it is clicked comes after it.
  const element = page.locator(captcha.shows).filter({ visible: true }).last();
  const bytes = await element.screenshot({ type: 'png', scale: 'css', timeout: PICTURE_MS, animations: 'disabled', mask: await masksOf(page, [...secrets].filter((secret) => secret.length > 2)) });
  const box = await element.boundingBox({ timeout: ACT_MS });
  if (box === null) throw stepFailed('the CAPTCHA went away while it was looked at');
  return { bytes, box };
}

/** Elements of all frames that show a secret. */
async function masksOf(page: Page, secrets: readonly string[]): Promise<Found[]> {
  const masks = await Promise.all(page.frames().map(async (frame) => {
    const fields = frame.locator('input, textarea');
    const values = await fields.evaluateAll((all: readonly { value?: unknown }[]) => all.map(({ value }) => (typeof value === 'string' ? value : '')));
    const telling = [...values.entries()].filter(([, value]) => secrets.some((secret) => value.includes(secret)));
    return [frame.locator('input[type=password]'), ...telling.map(([index]) => fields.nth(index)), ...secrets.map((secret) => frame.getByText(secret))];
  }));
  return masks.flat();
}

/**
 * Types or clicks what was answered. @returns whether the CAPTCHA is solved now, as far as the page tells.
 * @throws {BrowserError} StepFailed for an answer that does not fit; Playwright's own errors.
 */
export async function applyAnswer(page: Page, captcha: Captcha, { box }: CaptchaPicture, { text, places }: CaptchaAnswer, signal: AbortSignal): Promise<boolean> {
  if (captcha.by === 'text') {
    if (text === undefined) throw stepFailed('the model named no text for the CAPTCHA');
    const field = page.locator(captcha.answer).filter({ visible: true }).first();
    await field.fill(text, { timeout: ACT_MS });
    if (await comes(() => isGone(page, captcha), AT_ONCE_MS, signal)) return true;
    await field.press('Enter', { timeout: ACT_MS });
    // Refused, it stands there again with an empty field.
    await comes(async () => (await isGone(page, captcha)) || !(await isAnswered(page, captcha)), VERDICT_MS, signal);
    if (await isGone(page, captcha)) return true;
    // A wrong answer that stays would make it look solved.
    await field.clear({ timeout: ACT_MS });
    return false;
  }
  if (places === undefined) throw stepFailed('the model named no place of the CAPTCHA');
  if (places.some(({ x, y }) => x < 0 || y < 0 || x > box.width || y > box.height)) throw stepFailed('the model named a place outside of the CAPTCHA');
  for (const { x, y } of places) await page.mouse.click(box.x + x, box.y + y);
  return comes(async () => (await isGone(page, captcha)) || isAnswered(page, captcha), VERDICT_MS, signal);
}

async function isGone(page: Page, captcha: Captcha): Promise<boolean> {
  if (await isShown(page, captcha)) return false;
  // A page that is on its way shows nothing yet.
  await page.waitForLoadState('domcontentloaded', { timeout: VERDICT_MS });
  return !(await isShown(page, captcha));
}

/** Waits until something holds. Answers whether it did; a page that navigates away under the look is looked at again. */
async function comes(look: () => Promise<boolean>, withinMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    if (await look().catch(() => false)) return true;
    if (Date.now() >= deadline) return false;
    await sleep(LOOK_MS, undefined, { signal });
  }
}
