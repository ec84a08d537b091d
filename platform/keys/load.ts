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
  const file = join(config.HAL9_DATA, 'keys', 'master');
  const existing = await readOrUndefined(file);
  if (existing !== undefined) return KeyRing.parse(existing);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flush: true });
  try {
    await link(draft, file);
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    await unlink(draft);
  }
  return KeyRing.parse(await readFile(file, 'utf8'));
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
