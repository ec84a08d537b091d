import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';

/** A widget as it stands in pages: by its frame or element, and the field that holds the answer once it is solved. Hosts do not count: sites serve them from their own. */
export interface Captcha {
  readonly name: string;
  readonly shows: string;
  readonly answer: string;
  /** What solves it: a text in the field of the answer, clicks on places of it, or only a hand (something is dragged). */
  readonly by: 'text' | 'places' | 'hand';
}

/** Widgets that watch without being seen stand in nobody's way. */
const WIDGETS: readonly Captcha[] = [
  { name: 'reCAPTCHA', shows: '.g-recaptcha:not([data-size=invisible]), iframe[src*="/recaptcha/"][src*="/anchor"]:not([src*="size=invisible"]), iframe[src*="/recaptcha/"][src*="/bframe"]', answer: 'textarea[name=g-recaptcha-response]', by: 'places' },
  { name: 'hCaptcha', shows: '.h-captcha:not([data-size=invisible]), iframe[src*="hcaptcha"]:not([src*="size=invisible"])', answer: 'textarea[name=h-captcha-response]', by: 'places' },
  { name: 'Turnstile', shows: '.cf-turnstile, iframe[src*="/turnstile/"]', answer: 'input[name=cf-turnstile-response]', by: 'places' },
  { name: 'GeeTest', shows: '.geetest_holder, .geetest_captcha', answer: 'input[name=geetest_validate]', by: 'hand' },
  { name: 'a picture to be read', shows: 'img[src*="captcha" i], img[alt*="captcha" i]', answer: 'input[name*="captcha" i]', by: 'text' },
];

/** A page that does not let itself be looked at for so long (it loops, or never came) shows none, ms. */
const LOOK_MS = 10_000;

/** The CAPTCHA that stands, unsolved, on the page; undefined when there is none, or the page does not answer. */
export async function captchaOn(page: Page): Promise<Captcha | undefined> {
  const late = new AbortController();
  try {
    return await Promise.race([find(page), sleep(LOOK_MS, undefined, { signal: late.signal })]);
  } finally {
    late.abort();
  }
}

async function find(page: Page): Promise<Captcha | undefined> {
  for (const captcha of WIDGETS) if ((await isShown(page, captcha)) && !(await isAnswered(page, captcha))) return captcha;
  return undefined;
}

export async function isShown(page: Page, { shows }: Captcha): Promise<boolean> {
  return (await page.locator(shows).filter({ visible: true }).count()) > 0;
}

/** Whether something stands in the field of the answer. */
export async function isAnswered(page: Page, { answer }: Captcha): Promise<boolean> {
  return page.locator(answer).evaluateAll((fields: readonly { value?: unknown }[]) => fields.some(({ value }) => typeof value === 'string' && value !== ''));
}
