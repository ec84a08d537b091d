import { z } from 'zod';

const DATE_TIME = z.core.regexes.datetime({ offset: true });

/** The attributes of a signal that ingest reads; everything else stays in its text. */
export interface SignalAttributes {
  readonly specversion: '1.0';
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly time?: string;
  readonly partitionkey?: string;
}

/**
 * Whether a parsed JSON value is a signal: the same verdict as `signalSchema` at a fraction of its cost, for the hot path of
 * the ingest. A test holds the two together; the words for the sender come from the schema.
 */
export function isSignal(value: unknown): value is SignalAttributes {
  return (
    isRecord(value) &&
    value['specversion'] === '1.0' &&
    isText(value['id'], 1, 256) &&
    isText(value['source'], 1, 512) &&
    isText(value['type'], 1, 256) &&
    isOptional(value['time'], isDateTime) &&
    isOptional(value['subject'], (field) => isText(field, 1, 512)) &&
    isOptional(value['datacontenttype'], (field) => isText(field, 0, 128)) &&
    isOptional(value['dataschema'], (field) => isText(field, 0, 1024)) &&
    isOptional(value['data_base64'], (field) => typeof field === 'string') &&
    isOptional(value['partitionkey'], (field) => isText(field, 1, 512)) &&
    isOptional(value['hal9subject'], (field) => isText(field, 3, 560)) &&
    isOptional(value['traceparent'], (field) => isText(field, 0, 64))
  );
}

/** An object with members, not an array. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown, min: number, max: number): boolean {
  return typeof value === 'string' && value.length >= min && value.length <= max;
}

function isDateTime(value: unknown): boolean {
  return typeof value === 'string' && DATE_TIME.test(value);
}

function isOptional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || check(value);
}
