import { HalError } from '../../schemas/errors.ts';
import { KeyError, type KeyRing } from './key-ring.ts';

/**
 * Opens what was kept to be taken in again later, as {@link KeyRing.open} does.
 * @throws {HalError} `Unopenable` where that fails: its master key is not in the ring any more, an erasure emptied it, or it was changed.
 */
export function openKept(keys: Pick<KeyRing, 'open'>, orgId: string, purpose: string, sealed: Uint8Array, bound: string): Buffer {
  try {
    return keys.open(orgId, purpose, sealed, bound);
  } catch (error) {
    throw error instanceof KeyError ? unopenable(error) : error;
  }
}

export function unopenable(cause: KeyError): HalError {
  return new HalError('Unopenable', `what was kept of it cannot be opened: ${cause.message}`, { cause });
}
