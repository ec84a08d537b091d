import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { signalKey, uuidText } from '../../platform/signals/key.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { prepareText, prepareValue, type PrepareContext } from '../../platform/signals/prepare.ts';

const context: PrepareContext = { orgId: '11111111-1111-4111-8111-111111111111', lanes: new LaneChooser(8), receivedAt: '2026-05-06T07:08:09.010Z', defaultSpecversion: true };
const signal = { specversion: '1.0', id: 'a', source: 's', type: 't', time: '2026-01-01T00:00:00Z' };

describe('a signal on its way in', () => {
  it('keeps the text of the line as it is', () => {
    const text = `  {"specversion":"1.0", "id":"a","source":"s","type":"t","time":"2026-01-01T00:00:00Z","data":{"n":1.10e1,"big":12345678901234567890}} `;
    expect(prepareText(text, context).row?.envelope).toBe(text);
  });

  it('fills in what is missing, and only that', () => {
    const row = prepareText('\t{"id":"a","source":"s","type":"t","data":{"time":"x"}}', context).row;
    expect(JSON.parse(row?.envelope ?? '')).toEqual({ specversion: '1.0', time: context.receivedAt, id: 'a', source: 's', type: 't', data: { time: 'x' } });
    expect(row?.time).toBe(context.receivedAt);
    expect(prepareText('{"id":"a","source":"s","type":"t"}', { ...context, defaultSpecversion: false }).errors).toMatchObject([{ path: '/specversion' }]);
  });

  it('refuses what PostgreSQL cannot hold, wherever it is', () => {
    const bad = fc.constantFrom('\0', '\ud800', '\udc00', 'a\0b', '\ud83d');
    const place = fc.constantFrom('id', 'source', 'subject', 'data', 'extension', 'name');
    fc.assert(
      fc.property(bad, place, fc.boolean(), (text, where, asText) => {
        const value = where === 'name' ? { ...signal, data: [{ [text]: 1 }] } : where === 'data' ? { ...signal, data: { deep: [1, { x: text }] } } : { ...signal, [where]: text };
        const prepared = asText ? prepareText(JSON.stringify(value), context) : prepareValue(value, context);
        expect(prepared.errors?.[0]?.message).toContain('cannot be stored');
      }),
    );
  });

  it('takes any other text, escaped or not', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const value = { ...signal, data: text };
        const ascii = JSON.stringify(value).replace(/[^ -~]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
        const taken = !text.includes('\0') && text.isWellFormed();
        expect(prepareText(JSON.stringify(value), context).row !== undefined).toBe(taken);
        expect(prepareText(ascii, context).row !== undefined).toBe(taken);
      }),
    );
    expect(prepareText('{"specversion":"1.0","id":"a","source":"s","type":"t","data":"\\\\u0000"}', context).row).toBeDefined();
  });

  it('gives the database a time it can hold', () => {
    const timeOf = (time: string): string | undefined => prepareValue({ ...signal, time }, context).row?.time;
    expect(timeOf('2026-01-01T12:00:00+02:00')).toBe('2026-01-01T10:00:00.000Z');
    expect(timeOf('2026-01-01T12:00:00.123456Z')).toBe('2026-01-01T12:00:00.123456Z');
    expect(timeOf('2026-01-01T12:00:00.123456789Z')).toBe('2026-01-01T12:00:00.123Z');
    expect(timeOf('2026-01-01T12:00:00-23:59')).toBe('2026-01-02T11:59:00.000Z');
    for (const time of ['0000-01-01T00:00:00Z', '0001-01-01T00:00:00+01:00', '9999-12-31T23:59:59-01:00']) {
      expect(prepareValue({ ...signal, time }, context).errors).toMatchObject([{ path: '/time' }]);
    }
  });

  it('survives nesting that is deeper than any stack', () => {
    const text = `{"specversion":"1.0","id":"a","source":"s","type":"t","data":${'['.repeat(50_000)}"\\u0041"${']'.repeat(50_000)}}`;
    expect(prepareText(text, context).row).toBeDefined();
    expect(prepareValue(JSON.parse(text), context).errors).toMatchObject([{ message: 'nested too deeply' }]);
  });

  it('has a key of organisation, source and id, and of nothing else', () => {
    const key = signalKey('o', 's', 'i');
    expect(key).toHaveLength(32);
    expect(uuidText(key)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set([key, signalKey('o', 'si', ''), signalKey('os', '', 'i'), signalKey('o2', 's', 'i'), signalKey('o', 's', 'i')]).size).toBe(4);
    const [first, second] = [prepareValue(signal, context).row, prepareValue({ ...signal, data: 2, type: 'other' }, context).row];
    expect(second?.key).toBe(first?.key);
  });

  it('keeps a partition key on its lane and spreads the keys', () => {
    const lanes = new LaneChooser(8);
    const counts = Array.from({ length: 8 }, () => 0);
    for (let n = 0; n < 8000; n++) {
      const lane = lanes.laneOf(`host/${n}`);
      expect(new LaneChooser(8).laneOf(`host/${n}`)).toBe(lane);
      counts[lane] = (counts[lane] ?? 0) + 1;
    }
    expect(Math.min(...counts)).toBeGreaterThan(800);
    expect(prepareValue({ ...signal, partitionkey: 'k' }, context).row?.lane).toBe(prepareValue({ ...signal, source: 'elsewhere', partitionkey: 'k' }, context).row?.lane);
  });
});
