/** Something that was looked into, and all text in it, in lower case. */
export interface Scanned<Hit> {
  readonly hit: Hit;
  readonly text: string;
}

interface Waiting<Hit> {
  readonly texts: readonly string[];
  readonly found: Hit[];
  readonly resolve: (hits: readonly Hit[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Looks through all an organisation has of something that no index covers. Whoever asks while it is under way waits for the next pass, and
 * all who wait share that: hundreds of erasures at once cost two passes, not hundreds.
 */
export class SharedScan<Hit> {
  readonly #scan: (orgId: string) => AsyncIterable<Scanned<Hit>>;
  readonly #waiting = new Map<string, Waiting<Hit>[]>();
  readonly #running = new Set<string>();

  constructor(scan: (orgId: string) => AsyncIterable<Scanned<Hit>>) {
    this.#scan = scan;
  }

  /** @param texts in lower case. @returns where any of them is. */
  async find(orgId: string, texts: readonly string[]): Promise<readonly Hit[]> {
    if (texts.length === 0) return [];
    return new Promise((resolve, reject) => {
      this.#waiting.set(orgId, [...(this.#waiting.get(orgId) ?? []), { texts, found: [], resolve, reject }]);
      if (!this.#running.has(orgId)) void this.#pass(orgId);
    });
  }

  async #pass(orgId: string): Promise<void> {
    this.#running.add(orgId);
    for (let all = this.#take(orgId); all.length > 0; all = this.#take(orgId)) {
      try {
        for await (const { hit, text } of this.#scan(orgId)) for (const { texts, found } of all) if (texts.some((wanted) => text.includes(wanted))) found.push(hit);
        for (const { resolve, found } of all) resolve(found);
      } catch (error) {
        for (const { reject } of all) reject(error);
      }
    }
    this.#running.delete(orgId);
  }

  #take(orgId: string): Waiting<Hit>[] {
    const all = this.#waiting.get(orgId) ?? [];
    this.#waiting.delete(orgId);
    return all;
  }
}
