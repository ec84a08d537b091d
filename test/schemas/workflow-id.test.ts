import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { formatRunId, formatWorkflowId, parseRunId, parseWorkflowId, workflowOrganisation } from '../../schemas/names/workflow-id.ts';

describe('ids of runs', () => {
  const parts = { orgId: randomUUID(), operation: 'access-export', uuid: randomUUID() };

  it.each([parts, { ...parts, keyId: 'subject_1' }])('come apart as they were put together', (one) => {
    const { orgId, ...rest } = one;
    expect(parseWorkflowId(formatWorkflowId(one))).toEqual(one);
    expect(parseRunId(formatRunId(one))).toEqual(rest);
    expect(workflowOrganisation(formatWorkflowId(one))).toBe(orgId);
    expect(formatRunId(one)).not.toContain(orgId);
  });

  it('are refused in any other shape', () => {
    for (const text of ['', 'greet', `greet~${parts.uuid}~k:`, `greet~${parts.uuid.toUpperCase()}`, `../greet~${parts.uuid}`, `greet~${parts.uuid}/../x`]) expect(parseRunId(text), text).toBeUndefined();
    for (const text of ['', `${parts.orgId}/greet`, `x/greet/${parts.uuid}`, `${parts.orgId}/greet/${parts.uuid}/k:a b`]) expect(parseWorkflowId(text), text).toBeUndefined();
    expect(workflowOrganisation('temporal-sys-scheduler')).toBeUndefined();
  });
});
