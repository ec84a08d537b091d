import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HalError } from '../../schemas/errors.ts';
import type { RestoredServer } from './restored-server.ts';

/** A folder nobody worked on for so long was left by a drill that was ended, ms. Longer than workers take to come back. */
const LEFT_AFTER_MS = 5 * 60_000;
/** How often a folder is marked while somebody works on it, ms. */
const MARK_MS = 5_000;
/** Seconds until a claim is tried again while another drill holds the machine. */
const BUSY_SECONDS = 10;
const MARK = 'alive';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The folders of drills on this machine: one at a time, named by its run. */
export class Scratch {
  readonly #server: Pick<RestoredServer, 'root' | 'forget'>;

  constructor(server: Pick<RestoredServer, 'root' | 'forget'>) {
    this.#server = server;
  }

  folder(run: string): string {
    return join(this.#server.root, run);
  }

  /** Takes the machine for a run; again is fine. @throws {HalError} DependencyUnavailable while another drill is at work here. */
  async claim(run: string): Promise<void> {
    await this.sweep(run);
    const [other] = (await this.#runs()).filter((name) => name !== run);
    if (other !== undefined) throw new HalError('DependencyUnavailable', 'another drill is at work on this machine', { retryAfterSeconds: BUSY_SECONDS });
    await mkdir(this.folder(run), { recursive: true, mode: 0o711 });
    await writeFile(join(this.folder(run), MARK), '');
  }

  async holds(run: string): Promise<boolean> {
    return (await this.#idleMs(run)) !== undefined;
  }

  /** Marks the folder as worked on until the work is done. */
  async during<T>(run: string, work: () => Promise<T>): Promise<T> {
    // Where the folder is gone the work itself will say so.
    const mark = (): Promise<void> => utimes(join(this.folder(run), MARK), new Date(), new Date()).catch(() => undefined);
    await mark();
    const marking = setInterval(() => void mark(), MARK_MS);
    try {
      return await work();
    } finally {
      clearInterval(marking);
    }
  }

  /** Removes what drills that were ended left here. @param keep run whose folder stays whatever its age. */
  async sweep(keep?: string): Promise<void> {
    for (const run of await this.#runs()) if (run !== keep && ((await this.#idleMs(run)) ?? Infinity) > LEFT_AFTER_MS) await this.remove(run);
  }

  async remove(run: string): Promise<void> {
    const folder = this.folder(run);
    await this.#server.forget(folder);
    // What a killed attempt was copying may go on for a moment.
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }

  async #runs(): Promise<string[]> {
    await mkdir(this.#server.root, { recursive: true });
    return (await readdir(this.#server.root)).filter((name) => UUID.test(name));
  }

  /** Undefined where it was never claimed, or is half removed. */
  async #idleMs(run: string): Promise<number | undefined> {
    return stat(join(this.folder(run), MARK)).then((mark) => Date.now() - mark.mtimeMs, () => undefined);
  }
}
