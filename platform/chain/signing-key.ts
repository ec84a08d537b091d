import type { Signature } from 'ethers';

/** Where a signer's key is. Its bytes never leave what implements this. */
export interface SignerKey {
  /** With the checksum of EIP-55. */
  readonly address: string;
  /** @param digest 32 bytes, `0x` and hexadecimal. */
  sign(digest: string): Promise<Signature>;
  /** 32 bytes that only this key leads to (HKDF with SHA-256, RFC 5869; in a key management service HMAC with SHA-256), `0x` and hexadecimal; another label gives others. */
  derive(label: string): Promise<string>;
}
