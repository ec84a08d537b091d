import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generateKey, formatKey, parseKey } from '../../platform/identity/key-format.ts';
import { can, canSome, covers, intersect, SCOPE_PATTERN } from '../../platform/identity/permissions.ts';

const part = fc.constantFrom('runs', 'signals', 'keys');
const verb = fc.constantFrom('read', 'write');
const narrowing = fc.constantFrom('', ':type=a', ':type=b', ':type=a:region=x');
const scope = fc.oneof(fc.constant('*'), fc.tuple(fc.oneof(part, fc.constant('*')), fc.oneof(verb, fc.constant('*')), narrowing).map(([resource, action, rest]) => `${resource}:${action}${rest}`));
const attributes = fc.constantFrom<Record<string, string>>({}, { type: 'a' }, { type: 'b' }, { type: 'a', region: 'x' }, { region: 'x' });

describe('permissions', () => {
  it('a scope that is covered never allows what the covering ones do not', () => {
    fc.assert(
      fc.property(fc.array(scope, { minLength: 1, maxLength: 3 }), scope, part, verb, attributes, (held, wanted, resource, action, about) => {
        if (!covers(held, wanted) || !can({ scopes: [wanted] }, `${resource}:${action}`, about)) return;
        expect(can({ scopes: held }, `${resource}:${action}`, about)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('an intersection allows exactly what both allow', () => {
    const some = fc.array(scope, { maxLength: 3 });
    fc.assert(
      fc.property(some, some, part, verb, attributes, (left, right, resource, action, about) => {
        const both = intersect(left, right);
        expect(both.filter((one) => !SCOPE_PATTERN.test(one))).toEqual([]);
        expect(can({ scopes: both }, `${resource}:${action}`, about)).toBe(can({ scopes: left }, `${resource}:${action}`, about) && can({ scopes: right }, `${resource}:${action}`, about));
      }),
      { numRuns: 3000 },
    );
    expect(intersect(['*'], ['*', 'runs:read'])).toEqual(['*', 'runs:read']);
    expect(intersect(['runs:*'], ['*:read:type=a'])).toEqual(['runs:read:type=a']);
  });

  it('grants by resource, verb and narrowing', () => {
    expect(can({ scopes: ['runs:read'] }, 'runs:read')).toBe(true);
    expect(can({ scopes: ['runs:read'] }, 'runs:write')).toBe(false);
    expect(can({ scopes: ['*:read'] }, 'signals:read')).toBe(true);
    expect(can({ scopes: ['runs:write:type=rollout'] }, 'runs:write')).toBe(false);
    expect(can({ scopes: ['runs:write:type=rollout'] }, 'runs:write', { type: 'rollout' })).toBe(true);
    expect(can({ scopes: ['runs:write:__proto__=x'] }, 'runs:write', {})).toBe(false);
    expect(canSome({ scopes: ['runs:write:type=rollout'] }, 'runs:write')).toBe(true);
    expect(canSome({ scopes: ['runs:write:type=rollout'] }, 'runs:read')).toBe(false);
    expect(can({ scopes: [] }, 'runs:read')).toBe(false);
  });

  it('knows a scope when it sees one', () => {
    for (const good of ['*', '*:read', 'runs:*', 'api-keys:write', 'runs:write:type=rollout:tag=x']) expect(SCOPE_PATTERN.test(good), good).toBe(true);
    for (const bad of ['', 'runs', 'runs:', ':read', 'runs:read:type', 'Runs:read', 'runs:read ', '**', 'runs:read:type=a b']) expect(SCOPE_PATTERN.test(bad), bad).toBe(false);
  });

  it('reads the keys it writes and nothing else', () => {
    const key = generateKey();
    expect(parseKey(formatKey(key))).toEqual(key);
    expect(new Set(Array.from({ length: 500 }, () => generateKey().secret)).size).toBe(500);
    fc.assert(fc.property(fc.string(), (text) => parseKey(text) === undefined));
  });
});
