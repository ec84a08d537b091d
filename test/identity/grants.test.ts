import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { effectiveScopes, lastingScopes, narrow, possibleScopes, type Circumstances, type Grant } from '../../platform/identity/grants.ts';
import { can, covers, SCOPE_PATTERN } from '../../platform/identity/permissions.ts';
import { inheritsItself, isPredefined, PREDEFINED_ROLES, scopesOf, type Role } from '../../platform/identity/roles.ts';
import { roleConditions } from '../../schemas/rest/roles.ts';

const MONDAY_NOON = new Date('2026-03-02T12:00:00Z');
const here: Circumstances = { at: MONDAY_NOON, address: '10.1.2.3', risk: 10 };
const grant = (conditions: unknown, scopes: readonly string[] = ['runs:write']): Grant => ({ source: 'test', role: 'test', scopes, conditions: roleConditions.parse(conditions) });
const counts = (conditions: unknown, circumstances: Partial<Circumstances> = {}): boolean => effectiveScopes({ grants: [grant(conditions)] }, { ...here, ...circumstances }).length > 0;
const at = (text: string): Partial<Circumstances> => ({ at: new Date(text) });

describe('conditions', () => {
  it('let in while they are valid', () => {
    const conditions = { validFrom: '2026-03-02T10:00:00+01:00', validUntil: '2026-03-02T13:00:00Z' };
    expect(['2026-03-02T08:59:59Z', '2026-03-02T09:00:00Z', '2026-03-02T12:59:59Z', '2026-03-02T13:00:00Z'].map((time) => counts(conditions, at(time)))).toEqual([false, true, true, false]);
  });

  it('read the clocks of their zone, through daylight saving', () => {
    const office = { times: [{ zone: 'Europe/Berlin', weekdays: [1, 2, 3, 4, 5], from: '09:00', to: '17:00' }] };
    // Winter is UTC+1, summer UTC+2.
    expect(counts(office, at('2026-03-02T07:59:00Z'))).toBe(false);
    expect(counts(office, at('2026-03-02T08:00:00Z'))).toBe(true);
    expect(counts(office, at('2026-03-02T15:59:00Z'))).toBe(true);
    expect(counts(office, at('2026-03-02T16:00:00Z'))).toBe(false);
    expect(counts(office, at('2026-07-06T07:00:00Z'))).toBe(true);
    expect(counts(office, at('2026-07-06T15:00:00Z'))).toBe(false);
    expect(counts(office, at('2026-03-01T10:00:00Z'))).toBe(false);
  });

  it('count a window over midnight to the day it began on', () => {
    const night = { times: [{ zone: 'UTC', weekdays: [5], from: '22:00', to: '06:00' }] };
    expect(['2026-03-06T21:59Z', '2026-03-06T22:00Z', '2026-03-07T05:59Z', '2026-03-07T06:00Z', '2026-03-07T22:00Z', '2026-03-06T05:00Z'].map((time) => counts(night, at(time)))).toEqual([false, true, true, false, false, false]);
    const sunday = { times: [{ zone: 'UTC', weekdays: [7], from: '23:00', to: '01:00' }] };
    expect(counts(sunday, at('2026-03-02T00:30:00Z'))).toBe(true);
    const everyDay = { times: [{ zone: 'UTC' }] };
    expect(counts(everyDay, at('2026-03-02T23:59:59Z'))).toBe(true);
  });

  it('know networks, also behind IPv6 sockets, and let nobody in who has no address', () => {
    const conditions = { networks: ['10.0.0.0/8', '2001:db8::/32'] };
    const addresses = ['10.255.0.1', '11.0.0.1', '::ffff:10.0.0.1', '2001:db8:1::1', '2001:db9::1', '::ffff:11.0.0.1', 'nonsense', undefined];
    expect(addresses.map((address) => counts(conditions, { address }))).toEqual([true, false, true, true, false, false, false, false]);
  });

  it('bound the risk', () => {
    expect([0, 30, 31, 100, Number.NaN].map((risk) => counts({ maxRisk: 30 }, { risk }))).toEqual([true, true, false, false, false]);
  });

  it('must all hold', () => {
    const both = { networks: ['10.0.0.0/8'], maxRisk: 5 };
    expect(counts(both, { risk: 5 })).toBe(true);
    expect(counts(both)).toBe(false);
    expect(counts(both, { risk: 5, address: '1.1.1.1' })).toBe(false);
  });

  it('refuse what is no condition', () => {
    const refused: unknown[] = [{ networks: ['10.0.0.0'] }, { networks: [] }, { times: [{ zone: 'Mars/Olympus' }] }, { times: [{ zone: 'UTC', from: '24:00' }] }, { times: [{ zone: 'UTC', weekdays: [0] }] }, { maxRisk: 101 }, { resource: { type: [] } }, { resource: { type: ['a b'] } }, { someday: true }, { validFrom: '2026-03-02' }];
    expect(refused.filter((conditions) => roleConditions.safeParse(conditions).success)).toEqual([]);
  });
});

describe('narrowing by resource', () => {
  it('makes one scope for each combination', () => {
    expect(narrow(['runs:write', '*'], { type: ['a', 'b'], region: ['x'] })).toEqual(['runs:write:type=a:region=x', 'runs:write:type=b:region=x', '*:*:type=a:region=x', '*:*:type=b:region=x']);
    expect(narrow(['runs:write:type=a', 'runs:read:type=c'], { type: ['a', 'b'] })).toEqual(['runs:write:type=a']);
  });

  const scope = fc.constantFrom('*', 'runs:*', 'runs:write', '*:read', 'runs:write:type=a', 'signals:read:source=s');
  const resource = fc.dictionary(fc.constantFrom('type', 'source', 'region'), fc.uniqueArray(fc.constantFrom('a', 'b', 's'), { minLength: 1, maxLength: 2 }), { maxKeys: 2 });
  const about = fc.dictionary(fc.constantFrom('type', 'source', 'region'), fc.constantFrom('a', 'b', 's'), { maxKeys: 3 });

  it('allows exactly what the scopes and the attributes both allow', () => {
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 3 }), resource, fc.constantFrom('runs:write', 'runs:read', 'signals:read'), about, (scopes, attributes, permission, asked) => {
        const narrowed = narrow(scopes, attributes);
        for (const one of narrowed) expect([one, SCOPE_PATTERN.test(one), covers(scopes, one)]).toEqual([one, true, true]);
        const inside = Object.entries(attributes).every(([key, values]) => values.some((value) => value === asked[key]));
        expect(can({ scopes: narrowed }, permission, asked)).toBe(inside && can({ scopes }, permission, asked));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('effective scopes', () => {
  const conditions = fc.record(
    {
      maxRisk: fc.integer({ min: 0, max: 100 }),
      networks: fc.constantFrom(['10.0.0.0/8'], ['192.168.0.0/16', '2001:db8::/32']),
      times: fc.constantFrom([{ zone: 'Asia/Tokyo', weekdays: [1], from: '09:00', to: '12:00' }], [{ zone: 'UTC', from: '20:00', to: '04:00' }]),
      validUntil: fc.constantFrom('2026-03-02T12:00:00Z', '2027-01-01T00:00:00Z'),
    },
    { requiredKeys: [] },
  );
  const circumstances = fc.record({ at: fc.date({ min: new Date('2026-01-01'), max: new Date('2027-06-01'), noInvalidDate: true }), address: fc.option(fc.constantFrom('10.0.0.1', '192.168.1.1', '2001:db8::1'), { nil: undefined }), risk: fc.integer({ min: 0, max: 100 }) });
  const grants = fc.array(fc.record({ conditions, scopes: fc.subarray(['runs:read', 'runs:write:type=a', 'users:*']) }), { maxLength: 5 });

  it('come from a binding whose conditions hold, and lasting ones always count', () => {
    fc.assert(
      fc.property(grants, circumstances, (drafts, now) => {
        const set = { grants: drafts.map((draft) => grant(draft.conditions, draft.scopes)) };
        const scopes = effectiveScopes(set, now);
        const alone = set.grants.flatMap((one) => effectiveScopes({ grants: [one] }, now));
        expect(new Set(scopes)).toEqual(new Set(alone));
        expect(scopes.every((one) => possibleScopes(set).includes(one))).toBe(true);
        expect(lastingScopes(set).every((one) => scopes.includes(one))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('never grow with a further condition', () => {
    fc.assert(
      fc.property(conditions, conditions, circumstances, (first, second, now) => {
        const both = effectiveScopes({ grants: [grant({ ...first, ...second })] }, now).length;
        expect(both).toBeLessThanOrEqual(effectiveScopes({ grants: [grant(second)] }, now).length);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('roles', () => {
  const names = ['a', 'b', 'c', 'd'];
  const role = (name: string): fc.Arbitrary<Role> =>
    fc.record({ name: fc.constant(name), description: fc.constant(''), inherits: fc.subarray([...names, 'viewer', 'gone']), scopes: fc.subarray([`${name}:read`, `${name}:write`]), reachesDescendants: fc.boolean() });
  const some = fc.tuple(...names.map(role)).map((roles) => new Map(roles.map((one) => [one.name, one])));

  it('grant what they and those they reach by inheritance say, also in a cycle, and nothing else', () => {
    fc.assert(
      fc.property(some, fc.constantFrom(...names), (own, name) => {
        const reached = new Set([name]);
        for (let size = 0; size !== reached.size; ) {
          size = reached.size;
          for (const one of reached) for (const parent of own.get(one)?.inherits ?? []) reached.add(parent);
        }
        const expected = [...reached].flatMap((one) => (one === 'viewer' ? PREDEFINED_ROLES.find((each) => each.name === one) : own.get(one))?.scopes ?? []);
        expect(new Set(scopesOf(name, own))).toEqual(new Set(expected));
      }),
      { numRuns: 1000 },
    );
  });

  it('see a cycle before it is there', () => {
    const own = new Map<string, Role>([['a', { name: 'a', description: '', inherits: ['b'], scopes: [], reachesDescendants: false }]]);
    expect(inheritsItself('b', ['a'], own)).toBe(true);
    expect(inheritsItself('b', ['b'], own)).toBe(true);
    expect(inheritsItself('c', ['a'], own)).toBe(false);
    expect(inheritsItself('a', ['viewer', 'gone'], own)).toBe(false);
  });

  it('predefined ones contain each other from viewer to owner', () => {
    const chain = ['viewer', 'operator', 'developer', 'admin', 'owner'];
    for (const [index, name] of chain.entries()) {
      expect(isPredefined(name)).toBe(true);
      const lower = chain[index - 1];
      if (lower === undefined) continue;
      const held = scopesOf(name, new Map());
      expect(scopesOf(lower, new Map()).filter((one) => !covers(held, one))).toEqual([]);
      expect(held.every((one) => covers(scopesOf(lower, new Map()), one))).toBe(false);
    }
    expect(scopesOf('gone', new Map())).toEqual([]);
  });
});
