import type { Block, Cid } from './cid.ts';

/** Somebody who keeps blocks. Methods throw {@link ProviderFailed}, and nothing else but on abort. */
export interface ContentProvider {
  /** Of its connection. */
  readonly name: string;
  /** Whether blocks are handed to it; others fetch them from those that hold them. */
  readonly takesBlocks: boolean;
  /** Whether others can fetch blocks from it. */
  readonly isReachable: boolean;
  put(block: Block, signal: AbortSignal): Promise<void>;
  /** Keeps what the block links to. @param origins multiaddresses of nodes that hold it. */
  pin(root: Cid, origins: readonly string[], signal: AbortSignal): Promise<void>;
  isPinned(root: Cid, signal: AbortSignal): Promise<boolean>;
  /** Unpinning what is not pinned is fine. @param blocks what the root links to. */
  unpin(root: Cid, blocks: readonly Cid[], signal: AbortSignal): Promise<void>;
  /** Unverified: whoever asks compares it with the identifier. */
  read(cid: Cid, signal: AbortSignal): Promise<Buffer>;
  /** Multiaddresses at which its blocks are had. */
  origins(signal: AbortSignal): Promise<readonly string[]>;
}

/** A provider did not do what it was asked; in words for people, without addresses and secrets. */
export class ProviderFailed extends Error {
  override readonly name = 'ProviderFailed';
}
