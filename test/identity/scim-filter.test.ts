import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseFilter, parsePatchPath } from '../../platform/identity/scim-filter.ts';
import { applyPatch, GROUP_SHAPE, matches, USER_SHAPE } from '../../platform/identity/scim-patch.ts';
import { ScimFailure, URN, type ScimFilter, type ScimOperation } from '../../schemas/rest/scim.ts';

const compare = (path: string, operator: 'eq' | 'co' | 'gt', value: string | boolean): ScimFilter => ({ kind: 'compare', path, operator, value });

/** A filter as text, with every group in parentheses. */
function written(filter: ScimFilter): string {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return filter.filters.map((one) => (one.kind === 'and' || one.kind === 'or' ? `(${written(one)})` : written(one))).join(` ${filter.kind} `);
    case 'not':
      return `not (${written(filter.filter)})`;
    case 'element':
      return `${filter.path}[${written(filter.filter)}]`;
    case 'present':
      return `${filter.path} pr`;
    case 'compare':
      return `${filter.path} ${filter.operator} ${JSON.stringify(filter.value)}`;
  }
}

const path = fc.constantFrom('username', 'name.givenname', 'emails.value', 'meta.lastmodified', `${URN.enterprise}:department`.toLowerCase(), '$ref');
const scalar = fc.oneof(fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0') && text.isWellFormed()), fc.boolean(), fc.constant(null), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)));
const filters = fc.letrec<{ any: ScimFilter; leaf: ScimFilter }>((tie) => ({
  leaf: fc.oneof(
    fc.record({ kind: fc.constant('compare' as const), path, operator: fc.constantFrom('eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le'), value: scalar }),
    fc.record({ kind: fc.constant('present' as const), path }),
  ),
  any: fc.oneof(
    { maxDepth: 4 },
    tie('leaf'),
    fc.record({ kind: fc.constantFrom('and' as const, 'or' as const), filters: fc.array(tie('any'), { minLength: 2, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('not' as const), filter: tie('any') }),
    fc.record({ kind: fc.constant('element' as const), path: fc.constant('emails'), filter: tie('leaf') }),
  ),
})).any;

describe('a filter', () => {
  it('reads as it was written', () => {
    fc.assert(fc.property(filters, (filter) => {
      expect(parseFilter(written(filter))).toEqual(filter);
    }), { numRuns: 300 });
  });

  it('that is any text is read or refused, and nothing else happens', () => {
    const pieces = fc.array(fc.constantFrom('userName', 'eq', 'and', 'or', 'not', '(', ')', '[', ']', '"a"', '"', '\\', 'true', '5', '-', 'pr', ' ', '.', ':', '\u0000', "'", ';--'), { maxLength: 30 }).map((parts) => parts.join(' '));
    fc.assert(
      fc.property(fc.oneof(fc.string(), pieces), (text) => {
        try {
          parseFilter(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ScimFailure);
          expect(error).toMatchObject({ type: 'InvalidInput', scimType: 'invalidFilter' });
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('binds not before and before or, and knows no case', () => {
    expect(parseFilter('userName EQ "a" OR active eq True AND title Pr')).toEqual({
      kind: 'or',
      filters: [compare('username', 'eq', 'a'), { kind: 'and', filters: [compare('active', 'eq', true), { kind: 'present', path: 'title' }] }],
    });
    expect(parseFilter('not (title pr) and userName co "x"')).toMatchObject({ kind: 'and', filters: [{ kind: 'not' }, { kind: 'compare' }] });
    expect(parseFilter('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a"')).toEqual(compare('urn:ietf:params:scim:schemas:core:2.0:user:username', 'eq', 'a'));
  });

  it.each(['', 'userName', 'userName eq', 'userName eq a', 'eq "a"', 'userName like "a"', '(userName eq "a"', 'userName eq "a")', 'userName eq "a', 'emails[type eq "work"', 'userName eq "a" and', 'not title pr', 'userName eq "\\x"', 'userName eq "\\u0000"', "userName eq 'a'", `${'('.repeat(30)}a pr${')'.repeat(30)}`, Array(102).fill('a pr').join(' or ')])('%j is refused', (text) => {
    expect(() => parseFilter(text)).toThrow(ScimFailure);
  });
});

describe('the path of an operation', () => {
  it('has an attribute, an element, a sub-attribute', () => {
    expect(parsePatchPath('emails[type eq "work" and value co "]"].value')).toMatchObject({ attribute: 'emails', sub: 'value', element: { kind: 'and' } });
    expect(parsePatchPath(`${URN.enterprise}:manager.value`)).toEqual({ urn: URN.enterprise, attribute: 'manager', element: undefined, sub: 'value' });
    expect(() => parsePatchPath('emails[')).toThrow(ScimFailure);
    expect(() => parsePatchPath('a.b.c')).toThrow(ScimFailure);
  });
});

const op = (name: ScimOperation['op'], path_: string | undefined, value?: unknown): ScimOperation => ({ op: name, path: path_, value });
const ada = { userName: 'ada', active: true, name: { givenName: 'Ada', familyName: 'L' }, emails: [{ value: 'ada@example.com', type: 'work', primary: true }] };

describe('a change', () => {
  it('goes to attributes, parts of them and elements, whatever the case', () => {
    expect(applyPatch(ada, [op('replace', 'NAME.GIVENNAME', 'Augusta')], USER_SHAPE)).toMatchObject({ name: { givenName: 'Augusta', familyName: 'L' } });
    expect(applyPatch(ada, [op('replace', 'emails[type eq "work"].value', 'a@example.com')], USER_SHAPE)['emails']).toEqual([{ value: 'a@example.com', type: 'work', primary: true }]);
    expect(applyPatch(ada, [op('add', 'emails', { value: 'home@example.com', type: 'home', primary: true })], USER_SHAPE)['emails']).toEqual([
      { value: 'ada@example.com', type: 'work', primary: false },
      { value: 'home@example.com', type: 'home', primary: true },
    ]);
    expect(applyPatch(ada, [op('remove', 'emails[type eq "work"]')], USER_SHAPE)['emails']).toEqual([]);
    expect(applyPatch(ada, [op('remove', 'name.familyName'), op('remove', 'displayName')], USER_SHAPE)['name']).toEqual({ givenName: 'Ada' });
    expect(applyPatch(ada, [op('add', `${URN.enterprise}:department`, 'R&D')], USER_SHAPE)[URN.enterprise]).toEqual({ department: 'R&D' });
    expect(ada.name.givenName).toBe('Ada');
  });

  it('may come as Entra ID writes it', () => {
    expect(applyPatch(ada, [op('add', undefined, { 'name.givenName': 'Augusta', [`${URN.enterprise}:department`]: 'R&D', displayName: 'Ada L' })], USER_SHAPE)).toMatchObject({
      name: { givenName: 'Augusta', familyName: 'L' },
      [URN.enterprise]: { department: 'R&D' },
      displayName: 'Ada L',
    });
    expect(applyPatch({ userName: 'a' }, [op('add', 'emails[type eq "work"].value', 'a@example.com')], USER_SHAPE)['emails']).toEqual([{ type: 'work', value: 'a@example.com' }]);
    expect(applyPatch({ members: [{ value: '1' }, { value: '2' }] }, [op('remove', 'members', [{ value: '1' }])], GROUP_SHAPE)['members']).toEqual([{ value: '2' }]);
    expect(applyPatch(ada, [op('replace', 'phoneNumbers[type eq "work"].value', '1')], USER_SHAPE)).toEqual(ada);
  });

  it('may come as Okta writes it', () => {
    expect(applyPatch(ada, [op('replace', undefined, { active: false })], USER_SHAPE)).toMatchObject({ active: false });
    expect(applyPatch({ displayName: 'a', members: [] }, [op('replace', undefined, { id: 'x', displayName: 'b' })], GROUP_SHAPE)).toMatchObject({ displayName: 'b' });
    expect(applyPatch({ members: [{ value: '1' }] }, [op('remove', 'members[value eq "1"]')], GROUP_SHAPE)['members']).toEqual([]);
    expect(applyPatch({ members: [{ value: '1' }] }, [op('replace', 'members', [{ value: '2', display: 'two' }])], GROUP_SHAPE)['members']).toEqual([{ value: '2', display: 'two' }]);
  });

  it.each<[string, ScimOperation, string]>([
    ['an attribute that there is not', op('replace', 'shoeSize', 5), 'invalidPath'],
    ['a sub-attribute that there is not', op('replace', 'name.shoeSize', 5), 'invalidPath'],
    ['an element of no list', op('replace', 'name[type eq "x"].givenName', 'a'), 'invalidPath'],
    ['nothing', op('remove', undefined), 'noTarget'],
    ['an element that nothing describes', op('replace', 'emails[value co "zzz"].type', 'home'), 'noTarget'],
    ['an id', op('replace', 'id', 'x'), 'mutability'],
    ['no object', op('replace', undefined, 5), 'invalidValue'],
    ['a number as an address', op('add', 'emails', 5), 'invalidValue'],
  ])('of %s is refused', (_, operation, scimType) => {
    expect(() => applyPatch(ada, [operation], USER_SHAPE)).toThrow(expect.objectContaining({ scimType }));
  });

  it('never reaches what all objects share', () => {
    const hostile: unknown = JSON.parse('{"__proto__": {"polluted": true}, "name": {"__proto__": {"polluted": true}}}');
    expect(() => applyPatch(ada, [op('add', undefined, hostile)], USER_SHAPE)).toThrow(ScimFailure);
    expect(() => applyPatch(ada, [op('add', '__proto__.polluted', true)], USER_SHAPE)).toThrow(ScimFailure);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('added twice is there once', () => {
    fc.assert(
      fc.property(fc.array(fc.uuid(), { maxLength: 8 }), fc.array(fc.uuid(), { maxLength: 8 }), (before, more) => {
        const resource = { members: [...new Set(before)].map((value) => ({ value })) };
        const add = op('add', 'members', more.map((value) => ({ value })));
        const once = applyPatch(resource, [add], GROUP_SHAPE)['members'];
        const twice = applyPatch(resource, [add, add], GROUP_SHAPE)['members'];
        const ids = (list: unknown): string[] => (Array.isArray(list) ? list.map((one: { value: string }) => one.value).sort() : []);
        expect(ids(twice)).toEqual(ids(once));
        expect(ids(once)).toEqual([...new Set([...before, ...more])].sort());
      }),
      { numRuns: 100 },
    );
  });
});

describe('an element', () => {
  it.each<[string, boolean]>([
    ['type eq "WORK"', true],
    ['type ne "work"', false],
    ['value co "@example"', true],
    ['value sw "ada" and not (type eq "home")', true],
    ['value ew ".org" or primary eq true', true],
    ['display pr', false],
    ['value gt "b"', false],
    ['value ge "ada@example.com" and value le "ada@example.com"', true],
    ['value lt "b" and display eq null', true],
    ['primary co true', false],
  ])('fulfils %s: %s', (text, fulfilled) => {
    expect(matches(parseFilter(text), { value: 'ada@example.com', type: 'work', primary: true })).toBe(fulfilled);
  });
});
