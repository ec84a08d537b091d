import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { Launched, leftovers, removeFolder, temporaryFolder } from '../deploy/launched.ts';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

it('finishes every session whose worker or browser is killed, books once, and leaves nothing behind', async () => {
  const chaos = new Launched(['chaos', 'browser', '--smoke', '--json'], { TMPDIR: folder });
  onTestFinished(async () => void (await chaos.end('SIGTERM')));
  const code = await chaos.ended;
  expect([code, chaos.stdout.trim().split('\n').length], chaos.stderr).toEqual([0, 1]);
  const outcome = JSON.parse(chaos.stdout) as { signedInAgain: number; signedInAgainAtMost: number };
  expect(outcome).toMatchObject({ kills: 4, finished: 4, duplicated: 0 });
  // Who is killed before the sign-in is on record signs in again.
  expect(outcome.signedInAgain).toBeLessThanOrEqual(outcome.signedInAgainAtMost);
  expect(await leftovers(folder, 10_000)).toEqual([]);
});
