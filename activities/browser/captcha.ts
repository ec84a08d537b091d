import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';

/** A widget as it stands in pages: by its frame or element, and the field that holds the answer once it is solved. Hosts do not count: sites serve them from their own. */
interface Widget {
  readonly name: string;
  readonly shows: string;
  readonly answer: string;
}

/** Widgets that watch without being seen stand in nobody's way. */
const WIDGETS: readonly Widget[] = [
  { name: 'reCAPTCHA', shows: '.g-recaptcha:not([data-size=invisible]), iframe[src*="/recaptcha/"][src*="/anchor"]:not([src*="size=invisible"]), iframe[src*="/recaptcha/"][src*="/bframe"]', answer: 'textarea[name=g-recaptcha-response]' },
  { name: 'hCaptcha', shows: '.h-captcha:not([data-size=invisible]), iframe[src*="hcaptcha"]:not([src*="size=invisible"])', answer: 'textarea[name=h-captcha-response]' },
  { name: 'Turnstile', shows: '.cf-turnstile, iframe[src*="/turnstile/"]', answer: 'input[name=cf-turnstile-response]' },
  { name: 'GeeTest', shows: '.geetest_holder, .geetest_captcha', answer: 'input[name=geetest_validate]' },
  { name: 'a picture to be read', shows: 'img[src*="captcha" i], img[alt*="captcha" i]', answer: 'input[name*="captcha" i]' },
];

/** A page that does not let itself be looked at for so long (it loops, or never came) shows none, ms. */
const LOOK_MS = 3_000;

/** The CAPTCHA that stands, unsolved, on the page; undefined when there is none, or the page does not answer. */
export async function captchaOn(page: Page): Promise<string | undefined> {
  const late = new AbortController();
  try {
    return await Promise.race([find(page), sleep(LOOK_MS, undefined, { signal: late.signal })]);
  } finally {
    late.abort();
  }
}

async function find(page: Page): Promise<string | undefined> {
  for (const { name, shows, answer } of WIDGETS) {
    if ((await page.locator(shows).filter({ visible: true }).count()) === 0) continue;
    const solved = await page.locator(answer).evaluateAll((fields: readonly { value?: unknown }[]) => fields.some(({ value }) => typeof value === 'string' && value !== ''));
    if (!solved) return name;
  }
  return undefined;
}
