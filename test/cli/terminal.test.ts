import { describe, expect, it } from 'vitest';
import { withFields } from '../../cli/input.ts';
import { readable } from '../../cli/terminal.ts';
import { exitCodeOf, UsageError } from '../../cli/exit-code.ts';
import { ApiError, ConnectionError, RequestTimeout } from '../../clients/typescript/index.ts';

describe('what people see', () => {
  it('is a row an item, with what fits at a glance', () => {
    const text = readable({ items: [{ id: 'a', tags: ['x', 'y'], nested: { deep: 1 } }, { id: 'b', tags: [], late: 'z'.repeat(100) }], nextCursor: 'more' });
    expect(text.split('\n')).toHaveLength(4);
    expect(text).toContain('x, y');
    expect(text).not.toContain('deep');
    expect(text).toContain('--cursor more');
    expect(readable({ items: [], nextCursor: null })).toBe('none');
  });

  it('cannot be steered by what others wrote', () => {
    expect(readable({ name: '\u001b[2Jgone' })).not.toContain('\u001b');
  });
});

describe('fields of a body', () => {
  it('are JSON where they read as JSON, and go deeper by dots', () => {
    expect(withFields({ a: 1 }, ['b=2', 'c.d=x', 'e=["f"]', 'g=a=b'])).toEqual({ a: 1, b: 2, c: { d: 'x' }, e: ['f'], g: 'a=b' });
    expect(() => withFields({ a: 1 }, ['a.b=1'])).toThrow('a is no object');
    expect(() => withFields(undefined, ['a'])).toThrow('not name=value');
    expect(Object.hasOwn(withFields({}, ['__proto__=1']) as object, '__proto__')).toBe(true);
  });
});

it('exit codes tell failures apart', () => {
  const problem = (status: number) => new ApiError({ type: '/problems/X', title: '', status, detail: '', instance: '', remedy: '', retryable: false, errors: [] }, undefined);
  expect([422, 401, 403, 404, 409, 429, 402, 500, 503, 504].map((status) => exitCodeOf(problem(status)))).toEqual([2, 3, 3, 4, 5, 6, 6, 7, 7, 8]);
  expect([new UsageError(''), new ConnectionError(''), new RequestTimeout('')].map(exitCodeOf)).toEqual([2, 7, 8]);
});
