// Plain JavaScript for any Node from 20: runs before anything is installed.
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/**
 * The folder outside every repository and data folder that HAL9 keeps tools and compiled code in.
 * @param {Readonly<Record<string, string | undefined>>} env
 */
export function cacheFolder(env) {
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(env.HOME ?? homedir(), '.cache'), 'hal9');
}

/**
 * Lets Node keep the compiled code of programs, which then begin sooner (https://nodejs.org/api/module.html#module-compile-cache).
 * @param {Readonly<Record<string, string | undefined>>} env
 */
export function compileCache(env) {
  return { NODE_COMPILE_CACHE: join(cacheFolder(env), 'compile') };
}
