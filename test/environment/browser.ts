import type { Browser } from 'playwright-core';
import { launchChromium } from '../../activities/browser/chromium.ts';

/** A headless Chromium: the one named by HAL9_CHROMIUM, the system's, or the one that npm carries. */
export function launchBrowser(): Promise<Browser> {
  return launchChromium({ executablePath: process.env['HAL9_CHROMIUM'] });
}
