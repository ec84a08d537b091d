import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSignal } from '../../schemas/signals/is-signal.ts';
import { signalSchema } from '../../schemas/signals/signal.ts';

const NAMES = ['specversion', 'id', 'source', 'type', 'time', 'subject', 'datacontenttype', 'dataschema', 'data', 'data_base64', 'partitionkey', 'traceparent'];
const lengths = fc.constantFrom(0, 1, 64, 65, 128, 129, 256, 257, 512, 513, 1024, 1025).map((length) => 'x'.repeat(length));
const times = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom('2026-02-29T00:00:00Z', '2024-02-29T00:00:00Z', '2026-01-01T24:00:00Z', '2026-01-01T00:00:60Z', '2026-01-01T00:00:00', '2026-01-01T00:00:00+02:00', '2026-01-01T00:00:00+24:00', '2026-01-01T00:00Z', '2026-1-1T00:00:00Z', '2026-01-01t00:00:00z', '2026-01-01T00:00:00.123456789Z', ' 2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z\n'),
);
const values = fc.oneof(lengths, times, fc.constantFrom('1.0', '1.1', null, true, 0, 1), fc.jsonValue({ maxDepth: 1 }));
const good = fc.record({ specversion: fc.constant('1.0'), id: fc.string({ minLength: 1, maxLength: 9 }), source: fc.constant('s'), type: fc.constant('t') });
const fields = fc.dictionary(fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 5 })), values, { maxKeys: 4 });

describe('isSignal', () => {
  it('says the same as the schema', () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.tuple(good, fields), ([signal, changes]) => {
        // As it comes from the wire: without undefined, with own keys only.
        const value: unknown = JSON.parse(JSON.stringify({ ...signal, ...changes }));
        const verdict = signalSchema.safeParse(value).success;
        if (verdict) accepted++;
        expect(isSignal(value)).toBe(verdict);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(500);
    expect(accepted).toBeLessThan(4900);
  });

  it('says the same of values that are no objects', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(isSignal(value)).toBe(signalSchema.safeParse(value).success);
      }),
    );
  });

  it('says the same when a required attribute is missing', () => {
    const whole = { specversion: '1.0', id: 'a', source: 's', type: 't' };
    expect(isSignal(whole)).toBe(true);
    for (const name of Object.keys(whole)) {
      const value = Object.fromEntries(Object.entries(whole).filter(([other]) => other !== name));
      expect(isSignal(value)).toBe(false);
      expect(signalSchema.safeParse(value).success).toBe(false);
    }
  });
});
