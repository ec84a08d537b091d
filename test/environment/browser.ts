import { execFileSync } from 'node:child_process';
import packaged from '@sparticuz/chromium';
import { chromium, type Browser } from 'playwright-core';

const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A headless Chromium: the one named by HAL9_CHROMIUM, the system's, or the one that npm carries. */
export async function launchBrowser(): Promise<Browser> {
  const system = process.env['HAL9_CHROMIUM'] ?? installed();
  if (system !== undefined) return chromium.launch({ executablePath: system, args: QUIET });
  return chromium.launch({ executablePath: await packaged.executablePath(), args: [...packaged.args, ...QUIET] });
}

function installed(): string | undefined {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    } catch {
      continue;
    }
  }
  return undefined;
}
