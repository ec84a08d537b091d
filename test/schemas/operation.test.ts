import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineOperation, workflowName } from '../../schemas/operations/operation.ts';

const draft = { summary: 's', input: z.object({ a: z.string() }), result: z.null(), timeouts: { execution: '1 hour' as const } };

describe('defineOperation', () => {
  it('completes a draft with safe defaults', () => {
    const contract = defineOperation({ name: 'access-export', ...draft });
    expect(contract).toMatchObject({ version: 1, permission: 'runs:write', id: 'uuid', conflictPolicy: 'fail', exposure: 'public', taskQueue: 'core' });
  });

  it('keeps what the author says', () => {
    expect(defineOperation({ name: 'x', ...draft, exposure: 'internal', effect: 'irreversible' })).toMatchObject({ exposure: 'internal', effect: 'irreversible' });
  });

  it.each(['Upper', 'with space', 'a/b', '', '-a', 'a--b', 'a~b'])('refuses the name %j', (name) => {
    expect(() => defineOperation({ name, ...draft })).toThrow(/kebab-case/);
  });

  it('names the workflow in camelCase', () => {
    expect(workflowName('access-export')).toBe('accessExport');
    expect(workflowName('remediate')).toBe('remediate');
  });
});
