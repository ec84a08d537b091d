import { z } from 'zod';
import { decodeCursor, encodeCursor } from './cursor.ts';

/** What of an item says where a page ended. */
export interface Order<Item, Position extends z.ZodType> {
  readonly position: Position;
  readonly of: (item: Item) => Readonly<Record<string, string | number>>;
}

/** Newest first; the id decides between items of one millisecond. */
export const BY_TIME = {
  position: z.object({ at: z.coerce.date(), id: z.uuid() }).transform(({ at, id }) => ({ createdAt: at, id })),
  of: ({ createdAt, id }: { readonly createdAt: Date; readonly id: string }) => ({ at: createdAt.toISOString(), id }),
};

/** In alphabetical order. */
export const BY_NAME = {
  position: z.object({ name: z.string() }).transform(({ name }) => name),
  of: ({ name }: { readonly name: string }) => ({ name }),
};

/**
 * One page of a list.
 * @param read reads up to `limit` items from where the page before ended; it is asked for one more than the page holds, to know whether more follow.
 * @throws {HalError} `InvalidInput` when the cursor is not one of this list.
 */
export async function pageOfList<Item, Position extends z.ZodType>(
  query: { readonly limit: number; readonly cursor?: string | undefined },
  order: Order<Item, Position>,
  read: (limit: number, after: z.output<Position> | undefined) => Promise<readonly Item[]>,
): Promise<{ items: Item[]; nextCursor: string | null }> {
  const found = await read(query.limit + 1, query.cursor === undefined ? undefined : decodeCursor(query.cursor, order.position));
  const items = found.slice(0, query.limit);
  const last = found.length > query.limit ? items.at(-1) : undefined;
  return { items, nextCursor: last === undefined ? null : encodeCursor(order.of(last)) };
}
