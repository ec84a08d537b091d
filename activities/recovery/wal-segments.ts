/** WAL is addressed in 4 GiB that segments divide evenly. */
const LOG_BYTES = 2 ** 32;

/**
 * Name of the segment that a place in the WAL lies in.
 * @param lsn e.g. `0/3000120`. @param size of a segment, bytes.
 */
export function segmentHolding(lsn: string, timeline: number, size: number): string {
  const [log = '0', offset = '0'] = lsn.split('/');
  // The place behind the last byte of a segment belongs to it.
  const last = Math.max(0, Number.parseInt(log, 16) * LOG_BYTES + Number.parseInt(offset, 16) - 1);
  return nameOf(timeline, Math.floor(last / LOG_BYTES), Math.floor((last % LOG_BYTES) / size));
}

/**
 * The first segment that is missing between these two, or before a later one of the same timeline that is there.
 * @param segments names without endings.
 */
export function firstGap(segments: ReadonlySet<string>, first: string, needed: string, size: number): string | undefined {
  const own = [...segments].filter((name) => name.slice(0, 8) === first.slice(0, 8));
  const last = [needed, ...own].reduce((latest, name) => (name > latest ? name : latest));
  for (let name = first; name <= last; name = after(name, size)) if (!segments.has(name)) return name;
  return undefined;
}

function after(name: string, size: number): string {
  const [timeline = 0, log = 0, segment = 0] = [0, 8, 16].map((start) => Number.parseInt(name.slice(start, start + 8), 16));
  return segment + 1 < LOG_BYTES / size ? nameOf(timeline, log, segment + 1) : nameOf(timeline, log + 1, 0);
}

function nameOf(timeline: number, log: number, segment: number): string {
  return [timeline, log, segment].map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('');
}
