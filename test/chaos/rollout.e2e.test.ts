import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasCluster } from '../cluster/control-plane.ts';

const present = await hasCluster();

describe.skipIf(!present)('chaos rollout', () => {
  it('ends every rollout fully old or fully new, with somebody behind the Service all the time', () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), 'rollout', '--smoke', '--json'], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    const outcome: unknown = JSON.parse(stdout);
    expect(outcome, stderr).toMatchObject({ runs: 2, mixed: 0, emptyEndpoints: 0, servedFailed: 0 });
  });
});
