/** Most partition keys remembered; beyond it they are hashed again. */
const REMEMBERED = 10_000;

/**
 * Chooses the lane of a partition key: FNV-1a (32 bit) over its UTF-16 code units, modulo the number of lanes. The same
 * in every process and release, because a key that moved to another lane would lose its order.
 */
export class LaneChooser {
  readonly #lanes: number;
  readonly #known = new Map<string, number>();

  constructor(lanes: number) {
    this.#lanes = lanes;
  }

  laneOf(partitionKey: string): number {
    const known = this.#known.get(partitionKey);
    if (known !== undefined) return known;
    let hash = 0x811c9dc5;
    for (let index = 0; index < partitionKey.length; index++) {
      hash = Math.imul(hash ^ partitionKey.charCodeAt(index), 0x01000193);
    }
    const lane = (hash >>> 0) % this.#lanes;
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.set(partitionKey, lane);
    return lane;
  }
}
