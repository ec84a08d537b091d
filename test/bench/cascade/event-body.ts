/** Signals of one body, and how many of them the first layer passes on. */
export interface EventRange {
  readonly from: number;
  readonly to: number;
  /** 0 to 1; spread evenly over the numbers. */
  readonly emitShare: number;
}

const HOSTS = 50;
/** About what a client's file stream hands over at once. */
const PART_CHARACTERS = 65_536;

/** NDJSON of readings of {@link HOSTS} hosts, about 150 bytes each, at the present time. */
export function eventBody(name: string, { from, to, emitShare }: EventRange): Buffer[] {
  const time = new Date().toISOString();
  const parts: Buffer[] = [];
  let text = '';
  for (let n = from; n < to; n++) {
    const emits = Math.floor((n + 1) * emitShare + 1e-9) > Math.floor(n * emitShare + 1e-9);
    const host = `host-${String(n % HOSTS)}`;
    text += `{"id":"${name}-${String(n)}","source":"bench/${host}","type":"bench.reading","subject":"${host}","time":"${time}","data":{"value":${emits ? '95.5' : '41.25'},"unit":"percent"}}\n`;
    if (text.length < PART_CHARACTERS) continue;
    parts.push(Buffer.from(text));
    text = '';
  }
  if (text !== '') parts.push(Buffer.from(text));
  return parts;
}
