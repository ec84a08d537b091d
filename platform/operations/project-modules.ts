import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

let registered = false;

/**
 * Lets projects of operations lie anywhere without an installation of their own: `hal9/<path>` is a file of HAL9, and a
 * package the project does not have (zod, `@temporalio/workflow`) is HAL9's. What the project does have comes first.
 * @param root HAL9's folder.
 */
export function resolveFromHal9(root: string): void {
  if (registered) return;
  registered = true;
  const parentURL = pathToFileURL(join(root, 'package.json')).href;
  registerHooks({
    resolve(specifier, context, next) {
      const own = ownFile(root, specifier);
      if (own !== undefined) return next(pathToFileURL(own).href, context);
      try {
        return next(specifier, context);
      } catch (error) {
        if (!isBare(specifier) || !isNotFound(error)) throw error;
        return next(specifier, { ...context, parentURL });
      }
    },
  });
}

/**
 * `hal9/<path>`, in an installation that ships JavaScript too, and `@hal9/sdk`, which is always HAL9's (but its part for
 * workflows): the errors and the current activity of two copies do not know each other.
 */
function ownFile(root: string, specifier: string): string | undefined {
  const extension = extname(import.meta.filename);
  if (specifier === '@hal9/sdk') return join(root, 'clients', 'sdk', `index${extension}`);
  if (specifier === '@hal9/sdk/activity') return join(root, 'clients', 'sdk', `activity${extension}`);
  if (!specifier.startsWith('hal9/')) return undefined;
  const file = join(root, specifier.slice('hal9/'.length));
  return existsSync(file) ? file : file.replace(/\.ts$/, extension);
}

function isBare(specifier: string): boolean {
  return /^(@[a-z0-9-]+\/)?[a-z0-9]/i.test(specifier) && !specifier.includes(':');
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND');
}
