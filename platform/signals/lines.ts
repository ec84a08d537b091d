import { isAscii, isUtf8 } from 'node:buffer';

/** One line of a body, or why it cannot be one. `number` counts from 1; empty lines count but are left out. */
export type Line = { readonly number: number; readonly text: string; readonly problem?: undefined } | { readonly number: number; readonly problem: string; readonly text?: undefined };

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const BLANK = /^\s*$/;

/**
 * Cuts a byte stream into lines (https://github.com/ndjson/ndjson-spec), block by block: a block is decoded once, and only one
 * that is not UTF-8 is looked at line by line. Memory stays at one chunk and one line.
 */
export class LineCutter {
  readonly #maxLineBytes: number;
  #carry: Buffer = Buffer.alloc(0);
  #number = 0;
  #skipping = false;
  #first = true;

  constructor(options: { maxLineBytes: number }) {
    this.#maxLineBytes = options.maxLineBytes;
  }

  /** The lines that end within this chunk. */
  push(chunk: Buffer): Line[] {
    let bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk]);
    if (this.#first && bytes.length >= BYTE_ORDER_MARK.length) {
      this.#first = false;
      if (bytes.subarray(0, 3).equals(BYTE_ORDER_MARK)) bytes = bytes.subarray(3);
    }
    const lines: Line[] = [];
    if (this.#skipping) {
      const end = bytes.indexOf(NEWLINE);
      this.#carry = Buffer.alloc(0);
      if (end === -1) return lines;
      this.#skipping = false;
      bytes = bytes.subarray(end + 1);
    }
    const end = bytes.lastIndexOf(NEWLINE);
    if (end !== -1) this.#cut(bytes.subarray(0, end), lines);
    this.#carry = bytes.subarray(end + 1);
    if (this.#carry.length > this.#maxLineBytes) {
      lines.push({ number: ++this.#number, problem: this.#tooLong() });
      this.#skipping = true;
      this.#carry = Buffer.alloc(0);
    }
    return lines;
  }

  /** What is left when the body ends without a newline. */
  end(): Line[] {
    const lines: Line[] = [];
    if (!this.#skipping && this.#carry.length > 0) this.#cut(this.#carry, lines);
    this.#carry = Buffer.alloc(0);
    return lines;
  }

  #cut(block: Buffer, lines: Line[]): void {
    if (!isUtf8(block)) return this.#cutBytes(block, lines);
    const text = block.toString(isAscii(block) ? 'latin1' : 'utf8');
    let start = 0;
    while (start <= text.length) {
      const newline = text.indexOf('\n', start);
      const end = newline === -1 ? text.length : newline;
      this.#line(text.slice(start, end), lines);
      start = end + 1;
    }
  }

  /** Somewhere in this block is a byte that is not UTF-8: finds out on which lines. */
  #cutBytes(block: Buffer, lines: Line[]): void {
    let start = 0;
    while (start <= block.length) {
      const newline = block.indexOf(NEWLINE, start);
      const end = newline === -1 ? block.length : newline;
      const bytes = block.subarray(start, end);
      if (isUtf8(bytes)) this.#line(bytes.toString('utf8'), lines);
      else lines.push({ number: ++this.#number, problem: 'not UTF-8 (cut off, or another encoding)' });
      start = end + 1;
    }
  }

  #line(text: string, lines: Line[]): void {
    const number = ++this.#number;
    // A UTF-16 unit is at most three bytes of UTF-8, so most lines need no measuring.
    if (text.length * 3 > this.#maxLineBytes && Buffer.byteLength(text) > this.#maxLineBytes) lines.push({ number, problem: this.#tooLong() });
    else if (text.charCodeAt(text.length - 1) === 0x0d) {
      if (!BLANK.test(text)) lines.push({ number, text: text.slice(0, -1) });
    } else if (text !== '' && !BLANK.test(text)) lines.push({ number, text });
  }

  #tooLong(): string {
    return `longer than ${this.#maxLineBytes} bytes`;
  }
}
