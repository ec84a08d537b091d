import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { Launched, leftovers, removeFolder, temporaryFolder } from '../deploy/launched.ts';

const answer = z.object({
  users: z.literal(12),
  requestsPerSecond: z.number().positive(),
  p50Ms: z.number().positive(),
  p95Ms: z.number().positive(),
  p99Ms: z.number().positive(),
  errors: z.literal(0),
  bottleneck: z.string().min(10),
  atHalfTheKnee: z.object({ readP50Ms: z.number(), readP95Ms: z.number(), errors: z.literal(0), withinTarget: z.boolean() }),
  target: z.object({ readP50Ms: z.literal(10), readP95Ms: z.literal(100) }),
  burst: z.object({ connections: z.literal(400), answered: z.literal(400), errors: z.literal(0) }),
  generatorProcessors: z.number(),
  verdict: z.literal('not judged'),
  saved: z.literal(false),
});

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

it('loads a whole installation, finds a knee, names what is in the way and leaves nothing behind', async () => {
  const load = new Launched(['load', '--users', '12', '--seconds', '3', '--from', '8', '--most', '12', '--connections', '400', '--json'], { TMPDIR: folder });
  const code = await load.ended;
  expect([code, load.stdout.trim().split('\n').length], load.stderr).toEqual([0, 1]);
  answer.parse(JSON.parse(load.stdout));
  expect(load.stderr).toMatch(/step: 8 a second offered/);
  expect(await leftovers(folder, 5000)).toEqual([]);
});
