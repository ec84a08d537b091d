import { closeSync, existsSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { systemCode } from './setup-error.ts';

export interface LogFileOptions {
  /** Size at which a new file begins, bytes. Default 10 MiB. */
  maxBytes?: number;
  /** Older files kept as `<path>.1` (newest) to `<path>.N`. Default 3. */
  keep?: number;
}

/** Appends text to a file that never grows beyond its size. Writes are synchronous, so nothing is lost when the process dies. */
export class LogFile {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #keep: number;
  #descriptor: number;
  #bytes: number;

  constructor(path: string, options: LogFileOptions = {}) {
    this.path = path;
    this.#maxBytes = options.maxBytes ?? 10 * 1024 * 1024;
    this.#keep = options.keep ?? 3;
    this.#descriptor = openSync(path, 'a', 0o640);
    this.#bytes = fstatSync(this.#descriptor).size;
  }

  append(chunk: string): void {
    if (this.#descriptor < 0) return;
    try {
      this.#bytes += writeSync(this.#descriptor, chunk);
    } catch (error) {
      // A full disk must not take the processes down with their logs; the lines are lost until there is room.
      if (systemCode(error) !== 'ENOSPC' && systemCode(error) !== 'EDQUOT') throw error;
    }
    if (this.#bytes >= this.#maxBytes) this.#rotate();
  }

  close(): void {
    if (this.#descriptor < 0) return;
    closeSync(this.#descriptor);
    this.#descriptor = -1;
  }

  #rotate(): void {
    closeSync(this.#descriptor);
    rmSync(`${this.path}.${this.#keep}`, { force: true });
    for (let age = this.#keep - 1; age >= 1; age -= 1) {
      if (existsSync(`${this.path}.${age}`)) renameSync(`${this.path}.${age}`, `${this.path}.${age + 1}`);
    }
    renameSync(this.path, `${this.path}.1`);
    this.#descriptor = openSync(this.path, 'a', 0o640);
    this.#bytes = 0;
  }
}
