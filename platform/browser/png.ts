import { crc32 } from 'node:zlib';

export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
/** Bytes of a chunk besides its data: length, type, checksum. */
const AROUND_CHUNK = 12;

/** The size of a PNG, without decoding it. @throws {RangeError} for what is none, or no whole one. */
export function sizeOf(png: Uint8Array): PictureSize {
  const [header] = chunksOf(png);
  if (header?.type !== 'IHDR' || header.bytes.length < AROUND_CHUNK + 13) throw new RangeError('the picture is no PNG');
  return { width: header.bytes.readUInt32BE(8), height: header.bytes.readUInt32BE(12) };
}

/**
 * The same picture with a comment instead of the one it had: bytes that no picture with another comment has, so that a store which keeps equal
 * bytes once keeps both, and deletes one without the other. PNG, third edition, 11.3.3.2 (tEXt).
 * @throws {RangeError} for what is no PNG.
 */
export function labelled(png: Uint8Array, label: string): Buffer {
  const content = Buffer.from(`tEXtComment\0${label}`, 'latin1');
  const comment = Buffer.alloc(content.length + 8);
  comment.writeUInt32BE(content.length - 4, 0);
  content.copy(comment, 4);
  comment.writeUInt32BE(crc32(content), content.length + 4);
  return Buffer.concat([SIGNATURE, ...chunksOf(png).flatMap(({ type, bytes }) => (type === 'tEXt' ? [] : type === 'IEND' ? [comment, bytes] : [bytes]))]);
}

function chunksOf(png: Uint8Array): { readonly type: string; readonly bytes: Buffer }[] {
  const all = Buffer.from(png.buffer, png.byteOffset, png.byteLength);
  if (!all.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw new RangeError('the picture is no PNG');
  const chunks: { type: string; bytes: Buffer }[] = [];
  for (let at = SIGNATURE.length; at + AROUND_CHUNK <= all.length; ) {
    const end = at + AROUND_CHUNK + all.readUInt32BE(at);
    if (end > all.length) throw new RangeError('the picture is cut off');
    chunks.push({ type: all.toString('latin1', at + 4, at + 8), bytes: all.subarray(at, end) });
    at = end;
  }
  if (chunks.at(-1)?.type !== 'IEND') throw new RangeError('the picture is cut off');
  return chunks;
}
