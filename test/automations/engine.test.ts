import { describe, expect, it } from 'vitest';
import { AutomationSet, CompiledAutomation, loopsOf, validateAutomation } from '../../neurons/automation.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { automationDraftSchema, type AutomationDefinition } from '../../schemas/automations/definition.ts';

function automation(name: string, parts: Readonly<Record<string, unknown>>): AutomationDefinition {
  const draft = automationDraftSchema.parse({ name, trigger: { kind: 'signal', types: ['disk.full'] }, effect: { kind: 'signal', type: 'disk.alarm' }, ...parts });
  return { id: name, version: 1, name, trigger: draft.trigger, effect: draft.effect, ...(draft.condition === undefined ? {} : { condition: draft.condition }) };
}

function signal(type: string, data: unknown, more: Readonly<Record<string, unknown>> = {}): NeuronSignal {
  return { ref: `ref-${type}`, id: '1', source: 'host/a', type, subject: 'a', timeMs: 1_700_000_000_000, data, ...more };
}

describe('an automation', () => {
  const full = automation('full', {
    trigger: { kind: 'signal', types: ['disk.*'], sources: ['host/*'], filter: 'signal.data.env == "prod"' },
    condition: 'signal.data.used > 90',
    effect: { kind: 'operation', operation: 'remediate', input: { host: 'signal.subject', used: 'signal.data.used', tags: '["disk", signal.type]', at: 'signal.time' } },
  });

  it('maps each field from the signal', () => {
    expect(new CompiledAutomation(full).judge(signal('disk.full', { env: 'prod', used: 95 }))).toEqual({
      kind: 'fire',
      effect: { kind: 'operation', operation: 'remediate', input: { host: 'a', used: 95, tags: ['disk', 'disk.full'], at: '2023-11-14T22:13:20.000Z' } },
    });
  });

  it.each([
    ['another type', signal('cpu.full', { env: 'prod', used: 95 }), 'unmatched'],
    ['another source', signal('disk.full', { env: 'prod', used: 95 }, { source: 'db/a' }), 'unmatched'],
    ['a filter that does not hold', signal('disk.full', { env: 'test', used: 95 }), 'unmatched'],
    ['a filter without its field', signal('disk.full', {}), 'unmatched'],
    ['a condition that does not hold', signal('disk.full', { env: 'prod', used: 10 }), 'skip'],
    ['a condition without its field', signal('disk.full', { env: 'prod' }), 'skip'],
    ['a condition of wrong types', signal('disk.full', { env: 'prod', used: 'much' }), 'fail'],
    ['a mapping without its field', signal('disk.full', { env: 'prod', used: 95 }, { subject: undefined }), 'fail'],
  ])('judges %s', (_, given, kind) => {
    const bare = { ...given };
    if (bare.subject === undefined) delete (bare as { subject?: string }).subject;
    expect(new CompiledAutomation(full).judge(bare).kind).toBe(kind);
  });

  it('says what failed without the data of the signal', () => {
    const verdict = new CompiledAutomation(full).judge(signal('disk.full', { env: 'prod', used: 'secret' }));
    expect(verdict).toMatchObject({ kind: 'fail', reason: expect.stringMatching(/^\/condition/) });
    expect(JSON.stringify(verdict)).not.toContain('secret');
  });

  it('keeps the partition key and the subject for the signal it sends', () => {
    const sends = new CompiledAutomation(automation('sends', { effect: { kind: 'signal', type: 'x', data: { v: 'signal.data.v' } } }));
    expect(sends.judge(signal('disk.full', { v: null }, { partitionkey: 'p' }))).toEqual({ kind: 'fire', effect: { kind: 'signal', type: 'x', subject: 'a', data: { v: null }, partitionKey: 'p' } });
  });

  it('of a webhook looks at that hook alone', () => {
    const hookId = '00000000-0000-4000-8000-000000000001';
    const hooked = new CompiledAutomation(automation('hooked', { trigger: { kind: 'webhook', hookId } }));
    expect(hooked.judge(signal('anything', {}, { source: `/hooks/${hookId}` })).kind).toBe('fire');
    expect(hooked.judge(signal('anything', {}, { source: '/hooks/00000000-0000-4000-8000-000000000002' })).kind).toBe('unmatched');
  });
});

describe('a set of automations', () => {
  it('answers in the order of the signals and leaves delegations alone', () => {
    const set = new AutomationSet([automation('a', {}), automation('b', { condition: 'signal.data.v == 2' })]);
    const outcomes = set.evaluate([signal('disk.full', { v: 1 }, { ref: '1' }), signal('other', {}), signal('disk.full', { v: 2 }, { ref: '2' }), signal('disk.full', { v: 2 }, { ref: '3', depth: 1 })]);
    expect(outcomes.map(({ automation: { name }, signal: { ref }, verdict: { kind } }) => [name, ref, kind])).toEqual([['a', '1', 'fire'], ['b', '1', 'skip'], ['a', '2', 'fire'], ['b', '2', 'fire']]);
    expect(new AutomationSet([]).evaluate([signal('disk.full', {})])).toEqual([]);
  });

  it('lets one that does not compile fail alone', () => {
    const set = new AutomationSet([automation('broken', { condition: 'signal.(' }), automation('fine', {})]);
    expect(set.evaluate([signal('disk.full', {})]).map(({ automation: { name }, verdict: { kind } }) => [name, kind])).toEqual([['broken', 'fail'], ['fine', 'fire']]);
  });
});

describe('saving', () => {
  it.each([
    [{ condition: 'signal.data.' }, '/condition'],
    [{ condition: '"text"' }, '/condition'],
    [{ trigger: { kind: 'signal', types: ['a'], filter: 'nonsense(1)' } }, '/trigger/filter'],
    [{ effect: { kind: 'operation', operation: 'x', input: { 'a/b': '1 +' } } }, '/effect/input/a~1b'],
    [{ effect: { kind: 'signal', type: 'x', subject: '1' } }, '/effect/subject'],
    [{ trigger: { kind: 'signal', types: ['a*b'] } }, '/trigger/types/0'],
  ])('refuses %j at %s', (parts, path) => {
    expect(validateAutomation(automation('x', parts)).map((error) => error.path)).toEqual([path]);
  });

  it('warns of ways that lead back', () => {
    const a = automation('a', { trigger: { kind: 'signal', types: ['t.a'] }, effect: { kind: 'signal', type: 't.b' } });
    const b = automation('b', { trigger: { kind: 'signal', types: ['t.b'] }, effect: { kind: 'signal', type: 't.c' } });
    const c = automation('c', { trigger: { kind: 'signal', types: ['t.*'], sources: ['/automations/b'] }, effect: { kind: 'signal', type: 't.a' } });
    expect(loopsOf(a, [b, c])).toEqual([['a', 'b', 'c', 'a']]);
    expect(loopsOf(a, [b])).toEqual([]);
    expect(loopsOf(automation('self', { trigger: { kind: 'signal', types: ['*'] } }), [])).toEqual([['self', 'self']]);
    expect(loopsOf(automation('narrow', { trigger: { kind: 'signal', types: ['*'], sources: ['host/*'] } }), [])).toEqual([]);
  });
});
