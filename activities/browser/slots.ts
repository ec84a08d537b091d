/** Room for one session. */
export interface Slot {
  /** Gives it back; once is enough. */
  release(): void;
}

interface Waiting {
  readonly orgId: string;
  readonly settle: (slot: Slot | undefined) => void;
}

/**
 * So many sessions at once. What becomes free goes to the organisation that has the fewest of them here, first come, first served where several have
 * as few: one that asks for hundreds keeps nobody else waiting for longer than until the next session ends.
 */
export class Slots {
  readonly #most: number;
  readonly #taken = new Map<string, number>();
  #waiting: Waiting[] = [];
  #inUse = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get inUse(): number {
    return this.#inUse;
  }

  get free(): number {
    return this.#most - this.#inUse;
  }

  /** @returns undefined when none was free within the time. */
  async take(orgId: string, withinMs: number): Promise<Slot | undefined> {
    if (this.free > 0) return this.#give(orgId);
    return new Promise((resolve) => {
      const waiting: Waiting = {
        orgId,
        settle: (slot) => {
          clearTimeout(timer);
          resolve(slot);
        },
      };
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        resolve(undefined);
      }, withinMs);
      this.#waiting.push(waiting);
    });
  }

  /** Lets nobody wait any longer. */
  close(): void {
    for (const { settle } of this.#waiting.splice(0)) settle(undefined);
  }

  #give(orgId: string): Slot {
    this.#inUse += 1;
    this.#taken.set(orgId, this.#of(orgId) + 1);
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        this.#inUse -= 1;
        const left = this.#of(orgId) - 1;
        if (left === 0) this.#taken.delete(orgId);
        else this.#taken.set(orgId, left);
        this.#next();
      },
    };
  }

  #next(): void {
    const [first, ...others] = this.#waiting;
    if (first === undefined) return;
    const next = others.reduce((best, other) => (this.#of(other.orgId) < this.#of(best.orgId) ? other : best), first);
    this.#waiting = this.#waiting.filter((other) => other !== next);
    next.settle(this.#give(next.orgId));
  }

  #of(orgId: string): number {
    return this.#taken.get(orgId) ?? 0;
  }
}
