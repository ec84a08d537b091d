import { z } from 'zod';
import type { Caller } from '../platform/identity/caller.ts';
import { can } from '../platform/identity/permissions.ts';
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

/** By the name in what people wrote. */
export const BY_DRAFT_NAME = {
  position: z.object({ name: z.string() }).transform(({ name }) => name),
  of: ({ draft }: { readonly draft: { readonly name: string } }) => ({ name: draft.name }),
};

/** For lists that {@link pageOfReadable} answers: any scope for the permission opens them. */
export const READABLE = () => ({ filtered: true }) as const;

/** Rows read at once by somebody who may see some of them. */
const BATCH = 200;

/** One page of what the caller may see of a list: all of it, or the items that their scopes name, as what their teams were given. */
export async function pageOfReadable<Placed, Position extends z.ZodType, Item extends Placed & { readonly id: string }>(
  caller: Caller,
  permission: string,
  query: { readonly limit: number; readonly cursor?: string | undefined },
  order: Order<Placed, Position>,
  read: (limit: number, after: z.output<Position> | undefined) => Promise<readonly Item[]>,
): Promise<{ items: Item[]; nextCursor: string | null }> {
  if (can(caller, permission)) return pageOfList<Item, Position>(query, order, read);
  return pageOfList<Item, Position>(query, order, async (limit, after) => {
    const visible: Item[] = [];
    for (let from = after; ; ) {
      const batch = await read(BATCH, from);
      visible.push(...batch.filter(({ id }) => can(caller, permission, { id })));
      const last = batch.at(-1);
      if (visible.length >= limit || batch.length < BATCH || last === undefined) return visible.slice(0, limit);
      from = order.position.parse(order.of(last));
    }
  });
}

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
