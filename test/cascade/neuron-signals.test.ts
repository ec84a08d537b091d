import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { admitSignal } from '../../activities/neurons/neuron-signals.ts';
import { OutcomeIds } from '../../activities/neurons/outcome-ids.ts';

const envelope = (more: Readonly<Record<string, unknown>> = {}) => ({ specversion: '1.0', id: 'a', source: 's', type: 't', time: '2026-01-01T00:00:00Z', ...more });

describe('signals as neurons see them', () => {
  it('take their place and time from HAL9, whatever the sender calls its attributes', () => {
    const admitted = admitSignal({ ref: 'key', delegated: false, envelope: envelope({ ref: 'forged', timeMs: 1, path: ['hot'], depth: 7, hal9layer: 'L4', hal9path: 'hot', hal9depth: 7 }) });
    expect(admitted).toMatchObject({ layer: 'L2', signal: { ref: 'key', timeMs: Date.UTC(2026, 0, 1), path: undefined, depth: undefined } });
  });

  it('carry path, depth and layer of a delegation that HAL9 wrote', () => {
    const admitted = admitSignal({ ref: 'key', delegated: true, envelope: envelope({ hal9layer: 'L3', hal9path: 'up,back', hal9depth: 2 }) });
    expect(admitted).toMatchObject({ layer: 'L3', signal: { path: ['up', 'back'], depth: 2 } });
  });

  it('are set aside with the cause when they cannot be read', () => {
    expect(admitSignal({ ref: 'key', delegated: false, envelope: undefined })).toEqual({ layer: 'L2', ref: 'key', cause: 'the stored text is not a JSON object' });
    expect(admitSignal({ ref: 'key', delegated: false, envelope: envelope({ time: 'yesterday' }) })).toMatchObject({ ref: 'key', cause: expect.stringContaining('not a signal') });
  });
});

describe('ids of outcomes', () => {
  it('are UUIDs, the same for the same place and different for any other', () => {
    const ids = ['L2', 'L3'].flatMap((stage) => (['emission', 'decision'] as const).flatMap((kind) => [0, 1, 4_294_967_295].map((n) => new OutcomeIds('3f0b6a52-5b0e-4b57-9d53-0b8a4f0c0a01', stage, kind).at(n))));
    expect(new Set(ids).size).toBe(12);
    for (const id of ids) expect(z.uuid().safeParse(id).success).toBe(true);
    expect(new OutcomeIds('3f0b6a52-5b0e-4b57-9d53-0b8a4f0c0a01', 'L2', 'emission').at(1)).toBe(ids[1]);
  });
});
