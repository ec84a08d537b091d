import type { SignalRow } from '../../database/signals.ts';

/** Whose rows they are; organisations take turns. */
interface OfOrganisation {
  readonly orgId: string;
}

/** Rows of one request waiting for a commit. */
export interface QueuedRows<Request extends OfOrganisation> {
  readonly request: Request;
  readonly rows: readonly SignalRow[];
}

/** What waits for one writer: first come, first served within an organisation, organisations in turn. */
export class GroupQueue<Request extends OfOrganisation> {
  /** A line is emptied when it leaves: old tables of the map keep what was in them until the old memory is collected. */
  readonly #byOrg = new Map<string, { parts: QueuedRows<Request>[] }>();
  #wake: (() => void) | undefined;
  #closed = false;

  push(part: QueuedRows<Request>): void {
    const { orgId } = part.request;
    const line = this.#byOrg.get(orgId);
    if (line === undefined) this.#byOrg.set(orgId, { parts: [part] });
    else line.parts.push(part);
    this.#wake?.();
  }

  /** Lets {@link take} end once everything is taken. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /**
   * The next rows of one organisation.
   * @param most rows; a larger part is split.
   * @param lingerMs waited for more when there are fewer; 0 for not at all.
   * @returns undefined when closed and empty.
   */
  async take(most: number, lingerMs: number): Promise<readonly QueuedRows<Request>[] | undefined> {
    while (this.#byOrg.size === 0) {
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    const [orgId] = this.#byOrg.keys();
    if (orgId === undefined) return undefined;
    if (lingerMs > 0 && !this.#closed && this.#waitingRows(orgId, most) < most) await new Promise((resolve) => setTimeout(resolve, lingerMs));
    return this.#cut(orgId, most);
  }

  #waitingRows(orgId: string, enough: number): number {
    let rows = 0;
    for (const part of this.#byOrg.get(orgId)?.parts ?? []) {
      rows += part.rows.length;
      if (rows >= enough) break;
    }
    return rows;
  }

  #cut(orgId: string, most: number): readonly QueuedRows<Request>[] {
    const line = this.#byOrg.get(orgId);
    if (line === undefined) return [];
    const { parts } = line;
    line.parts = [];
    // Out and in again: the organisation goes to the end of the line.
    this.#byOrg.delete(orgId);
    const taken: QueuedRows<Request>[] = [];
    let room = most;
    let used = 0;
    for (const part of parts) {
      if (room === 0) break;
      if (part.rows.length <= room) {
        taken.push(part);
        room -= part.rows.length;
        used++;
      } else {
        taken.push({ request: part.request, rows: part.rows.slice(0, room) });
        parts[used] = { request: part.request, rows: part.rows.slice(room) };
        room = 0;
      }
    }
    if (used < parts.length) this.#byOrg.set(orgId, { parts: parts.slice(used) });
    return taken;
  }
}
