import packaged from '@sparticuz/chromium';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../../activities/browser/chromium.ts';
import { findChromium } from '../../cli/recorder/chromium.ts';

/** A headless Chromium: the one named by HAL9_CHROMIUM, the system's, or the one that npm carries. */
export async function launchBrowser(): Promise<Browser> {
  const browser = await launchChromium({ executablePath: process.env['HAL9_CHROMIUM'] });
  // What a page waits for comes from other processes, on machines of any speed.
  browser.on('context', (context) => context.setDefaultTimeout(90_000));
  return browser;
}

/** The program of {@link launchBrowser}, for who starts it in another way. */
export async function chromiumPath(): Promise<string> {
  return findChromium().catch(() => packaged.executablePath());
}
