import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '../config/config.ts';
import { KeyRing } from './key-ring.ts';

/**
 * The key ring of this installation: HAL9_MASTER_KEYS, or the file `keys/master` in the data folder, created on first use
 * (mode 0600). Several processes may start at once: the first to link its file in place wins.
 */
export async function loadKeyRing(config: Pick<Config, 'HAL9_MASTER_KEYS' | 'HAL9_DATA'>): Promise<KeyRing> {
  if (config.HAL9_MASTER_KEYS !== undefined) return KeyRing.parse(config.HAL9_MASTER_KEYS);
  return KeyRing.parse(await keyFile(join(config.HAL9_DATA, 'keys', 'master'), () => `k1:${randomBytes(32).toString('base64')}\n`));
}

/**
 * The text of a key's file, created (mode 0600) when it is missing.
 * @param make text of a new key.
 */
export async function keyFile(file: string, make: () => string): Promise<string> {
  const existing = await readOrUndefined(file);
  if (existing !== undefined) return existing;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, make(), { mode: 0o600, flush: true });
  try {
    await link(draft, file);
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    await unlink(draft);
  }
  return readFile(file, 'utf8');
}

async function readOrUndefined(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
