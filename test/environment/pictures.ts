import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';

const DESK = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 800 };

/** A picture for people to look at, where `HAL9_TEST_PICTURES` names a folder. */
export async function takePicture(page: Page, name: string): Promise<void> {
  const folder = process.env['HAL9_TEST_PICTURES'];
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** As {@link takePicture}: light and dark, wide and narrow. */
export async function takePictures(page: Page, name: string): Promise<void> {
  if (process.env['HAL9_TEST_PICTURES'] === undefined) return;
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const viewport of [DESK, PHONE]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(viewport);
      await takePicture(page, `${name}-${colorScheme}-${viewport.width}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DESK);
}
