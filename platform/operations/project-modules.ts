import { registerHooks } from 'node:module';
import { join } from 'node:path';
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
      if (specifier.startsWith('hal9/')) return next(pathToFileURL(join(root, specifier.slice('hal9/'.length))).href, context);
      try {
        return next(specifier, context);
      } catch (error) {
        if (!isBare(specifier) || !isNotFound(error)) throw error;
        return next(specifier, { ...context, parentURL });
      }
    },
  });
}

function isBare(specifier: string): boolean {
  return /^(@[a-z0-9-]+\/)?[a-z0-9]/i.test(specifier) && !specifier.includes(':');
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND');
}
