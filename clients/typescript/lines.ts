const NEWLINE = 10;

/**
 * Lines of a byte stream, in groups that are safe to send as one request. Reads no further than it is asked: a slow server slows the source.
 * @param limit lines and bytes of a group; a single longer line is a group of its own.
 */
export async function* groupsOfLines(source: AsyncIterable<Uint8Array | string>, limit: { lines: number; bytes: number }): AsyncGenerator<{ text: string; lines: number; bytes: number }> {
  let group: Buffer[] = [];
  let bytes = 0;
  for await (const line of linesOf(source)) {
    if (group.length > 0 && (group.length >= limit.lines || bytes + line.length > limit.bytes)) {
      yield flush();
    }
    group.push(line);
    bytes += line.length;
  }
  if (group.length > 0) yield flush();

  function flush(): { text: string; lines: number; bytes: number } {
    const made = { text: Buffer.concat(group).toString('utf8'), lines: group.length, bytes };
    group = [];
    bytes = 0;
    return made;
  }
}

/** Lines with their newline; the last one may lack it. */
async function* linesOf(source: AsyncIterable<Uint8Array | string>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const piece of source) {
    let chunk = typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE)) {
      yield Buffer.concat([...rest, chunk.subarray(0, end + 1)]);
      rest = [];
      chunk = chunk.subarray(end + 1);
    }
    // Copied: a reader may use its buffer again.
    if (chunk.length > 0) rest.push(Buffer.from(chunk));
  }
  if (rest.length > 0) yield Buffer.concat([...rest, Buffer.from('\n')]);
}
