import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { readAnnotations } from './annotation-file.ts';
import { parseSourceAddress } from './source-address.ts';

/** How sources of a kind are declared. */
export interface SourceDeclaration {
  /**
   * Checks an address, and says what of it may be shown.
   * @throws {HalError} InvalidInput that never shows the address.
   */
  readonly shown: (address: string) => { readonly host: string; readonly database: string };
  /** @throws {HalError} InvalidInput when what people say of its records cannot be read. */
  readonly checkAnnotations: (annotations: string) => void;
}

export const SOURCE_DECLARATIONS: Readonly<Record<SourceKind, SourceDeclaration>> = {
  postgres: {
    shown(address) {
      const { host, database } = parseSourceAddress(address);
      return { host, database };
    },
    checkAnnotations: (annotations) => void readAnnotations(annotations),
  },
};
