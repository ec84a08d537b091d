import type { SignalRow } from '../../database/signals.ts';
import type { FieldError } from '../../schemas/errors.ts';
import { isRecord, isSignal, type SignalAttributes } from '../../schemas/signals/is-signal.ts';
import { signalSchema } from '../../schemas/signals/signal.ts';
import type { LaneChooser } from './lane.ts';
import { signalKey } from './key.ts';

/** A signal ready for the database, or what is wrong with it. */
export type Prepared = { readonly row: SignalRow; readonly errors?: undefined } | { readonly row?: undefined; readonly errors: readonly FieldError[] };

export interface PrepareContext {
  readonly orgId: string;
  readonly lanes: LaneChooser;
  /** Time of receipt, RFC 3339 in UTC; what a signal without `time` gets. */
  readonly receivedAt: string;
  /** Plain JSON may leave `specversion` out; a structured or batched CloudEvent may not. */
  readonly defaultSpecversion: boolean;
  /** Keyed hash of the person that the attribute `hal9subject` names; undefined when it cannot be read. Default: nobody is named by HAL9's own signals. */
  readonly subjectHash?: (text: string) => Buffer | undefined;
}

/** RFC 3339 in UTC with at most the microseconds PostgreSQL keeps. */
const UTC_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$/;
const YEAR_ZERO = '0000';
const FIRST_MS = Date.parse('0001-01-01T00:00:00Z');
const LAST_MS = Date.parse('9999-12-31T23:59:59.999Z');

/** Reads one line of text. The line itself is stored, so numbers and member order stay as the sender wrote them. */
export function prepareText(text: string, context: PrepareContext): Prepared {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The engine's own message quotes the text; a signal's data must not reach logs through it.
    return { errors: [{ path: '', message: 'not JSON (cut off, or malformed)' }] };
  }
  return prepare(value, text, context);
}

/** Reads one parsed value, e.g. an element of a JSON batch. */
export function prepareValue(value: unknown, context: PrepareContext): Prepared {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    return { errors: [{ path: '', message: 'nested too deeply' }] };
  }
  return prepare(value, text, context);
}

function prepare(value: unknown, text: string, context: PrepareContext): Prepared {
  if (!isRecord(value)) return { errors: [{ path: '', message: 'a signal is a JSON object' }] };
  let added = '';
  let candidate: unknown = value;
  if (value['specversion'] === undefined && context.defaultSpecversion) {
    added = '"specversion":"1.0",';
    candidate = { ...value, specversion: '1.0' };
  }
  if (!isSignal(candidate)) return { errors: schemaErrors(candidate) };
  const time = candidate.time === undefined ? context.receivedAt : storableTime(candidate.time);
  if (time === undefined) return { errors: [{ path: '/time', message: 'must lie in the years 1 to 9999' }] };
  if (candidate.time === undefined) added += `"time":"${time}",`;
  const stated = value['hal9subject'];
  const subject = typeof stated === 'string' ? context.subjectHash?.(stated) : undefined;
  if (stated !== undefined && context.subjectHash !== undefined && subject === undefined) return { errors: [{ path: '/hal9subject', message: '`kind:value`, e.g. `email:ada@example.net`' }] };
  // Only an escape can bring in what PostgreSQL's text and JSON cannot hold.
  if (text.includes('\\u')) {
    const path = unstorable(value);
    if (path !== undefined) return { errors: [{ path, message: 'holds U+0000 or half of a surrogate pair, which cannot be stored' }] };
  }
  const envelope = added === '' ? text : `{${added}${text.slice(text.indexOf('{') + 1)}`;
  return { row: { ...row(candidate, time, envelope, context), ...(subject === undefined ? {} : { subject }) } };
}

function row(signal: SignalAttributes, time: string, envelope: string, context: PrepareContext): SignalRow {
  return {
    key: signalKey(context.orgId, signal.source, signal.id),
    lane: context.lanes.laneOf(signal.partitionkey ?? signal.source),
    source: signal.source,
    type: signal.type,
    time,
    envelope,
  };
}

function storableTime(time: string): string | undefined {
  if (UTC_TIME.test(time) && !time.startsWith(YEAR_ZERO)) return time;
  const ms = Date.parse(time);
  return ms >= FIRST_MS && ms <= LAST_MS ? new Date(ms).toISOString() : undefined;
}

/** JSON pointer of a text or member name PostgreSQL cannot hold; undefined when there is none. Not recursive: nesting is the sender's. */
function unstorable(root: unknown): string | undefined {
  const open: { value: unknown; path: string }[] = [{ value: root, path: '' }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, path } = next;
    if (typeof value === 'string' && (value.includes('\0') || !value.isWellFormed())) return path;
    if (typeof value !== 'object' || value === null) continue;
    for (const [name, member] of Object.entries(value)) {
      if (name.includes('\0') || !name.isWellFormed()) return path;
      open.push({ value: member, path: `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}` });
    }
  }
  return undefined;
}

function schemaErrors(value: unknown): readonly FieldError[] {
  const parsed = signalSchema.safeParse(value);
  if (parsed.success) throw new Error('isSignal refuses what signalSchema accepts');
  return parsed.error.issues.map((issue) => ({ path: issue.path.map((part) => `/${String(part)}`).join(''), message: issue.message }));
}
