import type { Layer } from '../../schemas/names/layers.ts';
import type { Region } from './cluster.ts';

/**
 * Hands out seats one by one by the method of Webster and Sainte-Laguë: the next goes to whoever has the greatest weight / (2 seats + 1). No
 * seat moves when there are more of them, and where `seats` is the sum of whole weights each gets exactly its weight.
 * @returns who gets each seat, in order.
 */
function* webster<Name extends string>(weights: readonly (readonly [Name, number])[], seats: number): Generator<Name> {
  const given = new Map<Name, number>();
  for (let seat = 0; seat < seats; seat += 1) {
    const quotient = ([name, weight]: readonly [Name, number]): number => weight / (2 * (given.get(name) ?? 0) + 1);
    const next = weights.reduce((best, candidate) => (quotient(candidate) > quotient(best) ? candidate : best));
    given.set(next[0], (given.get(next[0]) ?? 0) + 1);
    yield next[0];
  }
}

/** Shares of `seats` by weight; they add up to it. */
export function sharesOf<Name extends string>(weights: readonly (readonly [Name, number])[], seats: number): Map<Name, number> {
  const shares = new Map<Name, number>(weights.map(([name]) => [name, 0]));
  for (const name of webster(weights, seats)) shares.set(name, (shares.get(name) ?? 0) + 1);
  return shares;
}

/**
 * How many pods of each layer stand in each region. Every region gets exactly its pods; where the regions have as many as the layers, every
 * layer has exactly its replicas too.
 */
export function podsByRegion(regions: readonly Region[], replicas: readonly (readonly [Layer, number])[]): Map<string, Map<Layer, number>> {
  const seats = webster(replicas, regions.reduce((sum, { pods }) => sum + pods, 0));
  return new Map(
    regions.map(({ name, pods }) => {
      const own = new Map<Layer, number>();
      for (let seat = 0; seat < pods; seat += 1) {
        const { value } = seats.next();
        if (value !== undefined) own.set(value, (own.get(value) ?? 0) + 1);
      }
      return [name, own];
    }),
  );
}
