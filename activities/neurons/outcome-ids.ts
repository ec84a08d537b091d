import { hash } from 'node:crypto';

/**
 * Ids of what one stage of a batch leaves behind: 12 bytes of SHA-256 over (batch, stage, kind) and a 4-byte counter, as a UUID of
 * version 8 (RFC 9562). Only one attempt at a stage ever commits, so position is identity; neighbours in the batch are neighbours
 * in the index.
 */
export class OutcomeIds {
  readonly #prefix: string;

  constructor(batchId: string, stage: string, kind: 'emission' | 'decision' | 'call' | 'dead-letter') {
    const hex = hash('sha256', `${batchId}/${stage}/${kind}`, 'hex');
    const variant = ((Number.parseInt(hex.charAt(16), 16) & 0x3) | 0x8).toString(16);
    this.#prefix = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 24)}`;
  }

  /** @param ordinal 0 to 2^32 - 1. */
  at(ordinal: number): string {
    return this.#prefix + ordinal.toString(16).padStart(8, '0');
  }
}
