import { describe, expect, it } from 'vitest';
import { openKept } from '../../platform/keys/kept.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { HalError } from '../../schemas/errors.ts';

const ring = new KeyRing([{ id: 'here', key: Buffer.alloc(32, 1) }]);
const lost = new KeyRing([{ id: 'lost', key: Buffer.alloc(32, 2) }]);

function failureOf(work: () => unknown): HalError | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof HalError) return error;
    throw error;
  }
  return undefined;
}

describe('what was kept', () => {
  it('opens as it was sealed', () => {
    expect(openKept(ring, 'org', 'receipts', ring.seal('org', 'receipts', 'a body', 'row'), 'row').toString()).toBe('a body');
  });

  it.each([
    ['its master key is not in the ring', lost.seal('org', 'receipts', 'a body', 'row'), 'no master key "lost" in the ring'],
    ['it was emptied', Buffer.alloc(0), 'the sealed data is too short'],
    ['it is of another row', ring.seal('org', 'receipts', 'a body', 'another row'), 'was changed'],
  ])('says what to do where %s', (_, sealed, why) => {
    const error = failureOf(() => openKept(ring, 'org', 'receipts', sealed, 'row'));
    expect([error?.type, error?.failure.status, error?.failure.retryable]).toEqual(['Unopenable', 409, false]);
    expect(error?.message).toContain(why);
  });

  it('does not hide other failures', () => {
    const broken = {
      open: (): Buffer => {
        throw new RangeError('broken');
      },
    };
    expect(() => openKept(broken, 'org', 'receipts', Buffer.alloc(0), 'row')).toThrow(RangeError);
  });
});
