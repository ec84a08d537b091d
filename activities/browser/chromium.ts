import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import packaged from '@sparticuz/chromium';
import { chromium, type Browser } from 'playwright-core';

/** Nothing of its own accord over the network; peers are reached through the proxy or not at all. */
const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--force-webrtc-ip-handling-policy=disable_non_proxied_udp',
];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const LAUNCH_MS = 60_000;

export interface ChromiumOptions {
  /** HAL9_CHROMIUM; default the system's, or else the one that npm carries. */
  readonly executablePath?: string | undefined;
  /** Flags on top. */
  readonly flags?: readonly string[];
}

/**
 * Starts a headless Chromium. As root it runs without its own sandbox, which Chromium refuses root; so does the one that npm carries, which brings
 * no program that could make one. What its package proposes besides is left out: it is for functions that open one page, with all of Chromium in one
 * process, which the end of the first context takes down, and with the rules between origins off.
 */
export async function launchChromium({ executablePath, flags = [] }: ChromiumOptions = {}): Promise<Browser> {
  const system = executablePath ?? (await installed());
  const sandbox = system === undefined || process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  // The worker ends it: a signal to the group must not take it away first.
  const common = { timeout: LAUNCH_MS, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false };
  return chromium.launch({ ...common, executablePath: system ?? (await packaged.executablePath()), args: [...sandbox, ...FLAGS, ...flags] });
}

async function installed(): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of NAMES) {
      const path = join(folder, name);
      if (await access(path).then(() => true, () => false)) return path;
    }
  }
  return undefined;
}
