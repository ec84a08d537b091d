/** A file that a step handed to a page as its blob has it: after a line with the session, so that no other one has the same bytes. */
export function handedOver(sessionId: string, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${sessionId}\n`), content]);
}

/** The file itself. */
export function contentOf(blob: Uint8Array): Buffer {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  return bytes.subarray(bytes.indexOf('\n') + 1);
}
