import type { IncomingMessage } from 'node:http';
import { HalError } from '../schemas/errors.ts';

/** Time within which a JSON body must have arrived, milliseconds: what a slow client may hold. */
const ARRIVAL_MS = 30_000;
/** Nesting beyond which a body is refused before anything recursive sees it. */
const DEPTH_LIMIT = 64;
/** What may be a number that JSON.parse turns into infinity: a large exponent, which a UUID only resembles, or very many digits. */
const HUGE_NUMBER = /\d[eE]\+?\d{3,}\s*(?:[,}\]]|$)|\d{300}/;
const UNSTORABLE = 'holds a NUL or half a surrogate pair, which cannot be stored';
const decoder = new TextDecoder('utf-8', { fatal: true });

export interface JsonBodyOptions {
  limitBytes: number;
  /** Default 30,000. */
  arrivalMs?: number;
}

/**
 * Reads and parses a JSON body, strictly: UTF-8, `application/json` (or `+json`), no content encoding, bounded in size,
 * depth and time, no `__proto__` keys, no text that PostgreSQL cannot store, no number beyond a double (I-JSON, RFC 7493). Of equal keys the last
 * counts, as everywhere in JavaScript.
 * @returns undefined for an empty body.
 * @throws {HalError} `UnsupportedMediaType`, `BodyTooLarge`, `MalformedBody`; `InvalidInput` naming the field.
 */
export async function readJson(request: IncomingMessage, options: JsonBodyOptions): Promise<unknown> {
  const announced = request.headers['content-length'];
  if (announced === '0' || (announced === undefined && request.headers['transfer-encoding'] === undefined)) return undefined;
  assertJson(request);
  if (Number(announced) > options.limitBytes) throw tooLarge(options.limitBytes);
  const bytes = await collect(request, options);
  if (bytes.length === 0) return undefined;
  return parse(bytes);
}

/**
 * Reads a body as it is, for what is signed over its bytes.
 * @throws {HalError} `UnsupportedMediaType` for a compressed one, `BodyTooLarge`, `MalformedBody` when it ends early or comes too slowly.
 */
export async function readBytes(request: IncomingMessage, options: JsonBodyOptions): Promise<Buffer> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new HalError('UnsupportedMediaType', 'compressed bodies are not supported; send without Content-Encoding');
  if (Number(request.headers['content-length']) > options.limitBytes) throw tooLarge(options.limitBytes);
  return collect(request, options);
}

/**
 * Reads a short text body of one media type, UTF-8.
 * @throws {HalError} as {@link readJson}.
 */
export async function readText(request: IncomingMessage, options: JsonBodyOptions & { type: string }): Promise<string> {
  const media = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (media !== options.type) throw new HalError('UnsupportedMediaType', `expected ${options.type}`);
  if (Number(request.headers['content-length']) > options.limitBytes) throw tooLarge(options.limitBytes);
  return decode(await collect(request, options));
}

function assertJson(request: IncomingMessage): void {
  const type = request.headers['content-type'] ?? '';
  const [media = '', ...parameters] = type.split(';');
  if (!/^application\/([a-z0-9.+-]+\+)?json$/i.test(media.trim())) {
    throw new HalError('UnsupportedMediaType', `expected application/json, got ${type === '' ? 'no Content-Type' : JSON.stringify(media.trim().slice(0, 100))}`);
  }
  const charset = parameters.map((parameter) => /^\s*charset\s*=\s*"?([^"\s]+)"?\s*$/i.exec(parameter)?.[1]).find((value) => value !== undefined);
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) throw new HalError('UnsupportedMediaType', 'JSON is UTF-8; other charsets are not supported');
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new HalError('UnsupportedMediaType', 'compressed bodies are not supported; send without Content-Encoding');
}

function collect(request: IncomingMessage, { limitBytes, arrivalMs = ARRIVAL_MS }: JsonBodyOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = (failure?: HalError): void => {
      clearTimeout(timer);
      request.off('data', take).off('end', end).off('error', broken).off('close', broken);
      if (failure === undefined) resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size));
      else {
        request.pause();
        reject(failure);
      }
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > limitBytes) finish(tooLarge(limitBytes));
      else chunks.push(chunk);
    };
    const end = (): void => finish();
    const broken = (): void => finish(new HalError('MalformedBody', 'the body ended early'));
    const timer = setTimeout(() => finish(new HalError('MalformedBody', `the body did not arrive within ${arrivalMs / 1000} s`)), arrivalMs);
    request.on('data', take).on('end', end).on('error', broken).on('close', broken);
  });
}

/** @throws {HalError} `MalformedBody`. */
function parse(bytes: Buffer): unknown {
  const text = decode(bytes);
  assertShallow(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HalError('MalformedBody', `the body is not JSON${position(error)}`, { cause: error });
  }
  // A key can be written with escapes, so any escape calls for the walk; most bodies have none of these.
  if (text.includes('__proto__') || text.includes('\\u') || HUGE_NUMBER.test(text)) assertPlain(value, '');
  return value;
}

function decode(bytes: Buffer): string {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new HalError('MalformedBody', 'the body is not UTF-8', { cause: error });
  }
}

/** Where the parser stopped; its full message would quote the body. */
function position(error: unknown): string {
  const at = error instanceof Error ? /at position \d+/.exec(error.message) : null;
  return at === null ? '' : ` (${at[0]})`;
}

function assertShallow(text: string): void {
  let depth = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === 34 /* " */) {
      index = endOfString(text, index);
    } else if (code === 91 /* [ */ || code === 123 /* { */) {
      depth += 1;
      if (depth > DEPTH_LIMIT) throw new HalError('MalformedBody', `the body nests deeper than ${DEPTH_LIMIT} levels`);
    } else if (code === 93 /* ] */ || code === 125 /* } */) {
      depth -= 1;
    }
  }
}

/** Index of the quote that closes the string opened at `start`; the text's end when none does. */
function endOfString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end === -1) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 92) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
}

/** @param path JSON pointer to the value. */
function assertPlain(value: unknown, path: string): void {
  if (typeof value === 'string' && !storable(value)) throw refused(path, UNSTORABLE);
  if (typeof value === 'number' && !Number.isFinite(value)) throw refused(path, 'is beyond the range of a double');
  if (typeof value !== 'object' || value === null) return;
  if (Object.hasOwn(value, '__proto__')) throw new HalError('MalformedBody', 'the key __proto__ is not allowed');
  for (const [key, child] of Object.entries(value)) {
    if (!storable(key)) throw refused(path, `has a key that ${UNSTORABLE}`);
    assertPlain(child, `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`);
  }
}

function storable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function refused(path: string, message: string): HalError {
  return new HalError('InvalidInput', 'the body has values that cannot be kept', { errors: [{ path, message }] });
}

function tooLarge(limitBytes: number): HalError {
  return new HalError('BodyTooLarge', `the limit is ${limitBytes} bytes`);
}
