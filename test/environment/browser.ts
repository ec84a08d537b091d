import packaged from '@sparticuz/chromium';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../../activities/browser/chromium.ts';
import { findChromium } from '../../cli/recorder/chromium.ts';

/** A headless Chromium: the one named by HAL9_CHROMIUM, the system's, or the one that npm carries. */
export function launchBrowser(): Promise<Browser> {
  return launchChromium({ executablePath: process.env['HAL9_CHROMIUM'] });
}

/** The program of {@link launchBrowser}, for who starts it in another way. */
export async function chromiumPath(): Promise<string> {
  return findChromium().catch(() => packaged.executablePath());
}
