import { z } from 'zod';

/** What happens to a firing that is due while an earlier one still runs; Temporal's six policies. */
export const OVERLAPS = ['skip', 'buffer-one', 'buffer-all', 'cancel-other', 'terminate-other', 'allow-all'] as const;
export type Overlap = (typeof OVERLAPS)[number];
export const overlapSchema = z.enum(OVERLAPS);

/** [least, most] of each field of a cron expression of seven fields. */
const SECOND_TO_YEAR: readonly (readonly [number, number])[] = [[0, 59], [0, 59], [0, 23], [1, 31], [1, 12], [0, 7], [2000, 2100]];
const NAMES: Readonly<Record<number, readonly string[]>> = {
  4: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  5: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'],
};
const NICKNAME = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/i;

/** Whether Temporal reads it: five fields, seven (seconds first, year last), or a nickname such as `@daily`. */
export function isCron(text: string): boolean {
  if (NICKNAME.test(text)) return true;
  const fields = text.trim().split(/\s+/);
  if (fields.length !== 5 && fields.length !== 7) return false;
  const offset = fields.length === 5 ? 1 : 0;
  return fields.every((field, index) => field.split(',').every((part) => isCronPart(part, index + offset)));
}

function isCronPart(part: string, field: number): boolean {
  const [range = '', step, ...more] = part.split('/');
  if (more.length > 0 || (step !== undefined && !/^[1-9]\d{0,3}$/.test(step))) return false;
  if (range === '*' || (range === '?' && (field === 3 || field === 5))) return true;
  const ends = range.split('-').map((end) => cronValue(end, field));
  const [from, to = from] = ends;
  return ends.length <= 2 && from !== undefined && to !== undefined && from <= to;
}

function cronValue(text: string, field: number): number | undefined {
  const named = NAMES[field]?.indexOf(text.toLowerCase()) ?? -1;
  if (named >= 0) return field === 4 ? named + 1 : named;
  const [least, most] = SECOND_TO_YEAR[field] ?? [0, -1];
  const value = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  return value >= least && value <= most ? value : undefined;
}

function isTimeZone(text: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

const within = (least: number, most: number) => {
  const value = z.int().min(least).max(most);
  return z.array(z.union([value, z.strictObject({ start: value, end: value, step: z.int().min(1).optional() }).refine(({ start, end }) => start <= end, 'start comes before end')])).min(1).max(60);
};

const calendarSchema = z.strictObject({
  second: within(0, 59).optional().describe('Default 0.'),
  minute: within(0, 59).optional().describe('Default 0.'),
  hour: within(0, 23).optional().describe('Default 0.'),
  dayOfMonth: within(1, 31).optional().describe('Default all.'),
  month: within(1, 12).optional().describe('Default all.'),
  year: within(2000, 2100).optional().describe('Default all.'),
  dayOfWeek: within(0, 6).optional().describe('0 is Sunday. Default all.'),
});
export type Calendar = z.infer<typeof calendarSchema>;

const operationAction = z.strictObject({
  kind: z.literal('operation'),
  operation: z.string().min(1).max(128).describe('Name of the operation, as in GET /v1/workflows.'),
  input: z.unknown().default({}).describe('Its input, the same every time. For inputs that depend on the time, send a signal and let an automation with a `schedule` trigger map it.'),
});

const signalAction = z.strictObject({
  kind: z.literal('signal'),
  type: z.string().min(1).max(256),
  subject: z.string().min(1).max(512).optional(),
  data: z.record(z.string(), z.unknown()).default({}).describe('Sent as it is, with `dueAt` added.'),
});

export const scheduleDraftSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes'),
    description: z.string().max(2000).default(''),
    cron: z.array(z.string().max(256).refine(isCron, 'is no cron expression: five fields, seven (seconds first, year last), or @hourly, @daily, @weekly, @monthly, @yearly')).max(20).default([]),
    intervals: z.array(z.strictObject({ everySeconds: z.int().min(1).max(31_536_000), offsetSeconds: z.int().min(0).default(0) }).refine(({ everySeconds, offsetSeconds }) => offsetSeconds < everySeconds, 'the offset is shorter than the interval')).max(20).default([]).describe('Every so often, counted from 1970-01-01T00:00:00Z plus the offset.'),
    calendars: z.array(calendarSchema).max(20).default([]),
    skip: z.array(calendarSchema).max(20).default([]).describe('Times that match one of these are left out.'),
    timeZone: z.string().max(64).refine(isTimeZone, 'is no IANA time zone').default('UTC').describe('IANA name; cron and calendars mean its wall clock. A time that a change of clocks leaves out does not fire; one that comes twice fires once, the second time, as in Temporal.'),
    jitterSeconds: z.int().min(0).max(86_400).default(0).describe('Each firing comes up to so much later, the same for the same time.'),
    startAt: z.iso.datetime({ offset: true }).optional(),
    endAt: z.iso.datetime({ offset: true }).optional(),
    overlap: overlapSchema.default('skip').describe('What happens when one is due while an earlier run is open.'),
    catchUpSeconds: z.int().min(10).max(31_536_000).default(3600).describe('How late a firing may come after an outage; what Temporal was away for is counted as missed, what the workers were away for is skipped with the reason.'),
    pauseOnFailure: z.boolean().default(false).describe('Whether a run that fails or times out pauses the schedule.'),
    limit: z.int().min(1).max(1_000_000).optional().describe('Fires so many times, then no more; by hand it still can.'),
    action: z.discriminatedUnion('kind', [operationAction, signalAction]),
  })
  .refine(({ cron, intervals, calendars }) => cron.length + intervals.length + calendars.length > 0, { path: ['cron'], message: 'say when: cron, intervals or calendars' })
  .refine(({ startAt, endAt }) => startAt === undefined || endAt === undefined || Date.parse(startAt) < Date.parse(endAt), { path: ['endAt'], message: 'comes after startAt' });

export type ScheduleDraft = z.infer<typeof scheduleDraftSchema>;
