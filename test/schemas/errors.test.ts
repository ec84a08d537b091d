import { describe, expect, it } from 'vitest';
import { FAILURES, HalError } from '../../schemas/errors.ts';

describe('the failure catalogue', () => {
  it.each(Object.entries(FAILURES))('%s says whose fault it is and what to do', (_name, failure) => {
    expect(failure.remedy.length).toBeGreaterThan(10);
    expect(failure.status).toBeGreaterThanOrEqual(400);
    // A fault of the caller is a 4xx and one of ours a 5xx, except where two of our own attempts race; that of a system which the caller named is 424.
    if (failure.owner === 'user') expect(failure.status).toBeLessThan(500);
  });

  it('travels with its cause', () => {
    const cause = new Error('socket');
    const error = new HalError('DependencyUnavailable', 'PostgreSQL does not answer', { cause, retryAfterSeconds: 2 });
    expect(error.failure.owner).toBe('outside');
    expect(error).toMatchObject({ type: 'DependencyUnavailable', retryAfterSeconds: 2, cause });
  });
});
