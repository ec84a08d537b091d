import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { UsageError } from '../exit-code.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'];
/** Where installers put one that is not in PATH. */
const PLACES = ['/Applications/Google Chrome.app/Contents/MacOS/Google Chrome', '/Applications/Chromium.app/Contents/MacOS/Chromium'];

/** The Chromium of this machine: the one that HAL9_CHROMIUM names, or the system's. @throws {UsageError} when there is none. */
export async function findChromium(): Promise<string> {
  const named = process.env['HAL9_CHROMIUM'];
  const places = [...(process.env['PATH'] ?? '').split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name))), ...PLACES];
  for (const path of named === undefined ? places : [named]) if (await access(path).then(() => true, () => false)) return path;
  throw new UsageError(named === undefined ? 'there is no Chromium or Chrome on this machine: install one, or name it in HAL9_CHROMIUM' : `HAL9_CHROMIUM names ${named}, which is not there`);
}
