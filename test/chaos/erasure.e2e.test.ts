import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { Launched, leftovers, removeFolder, temporaryFolder } from '../deploy/launched.ts';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

it('is never complete while somebody is left, with the worker killed and the source away in the middle of it, and leaves nothing behind', async () => {
  const chaos = new Launched(['chaos', 'erasure', '--smoke', '--json'], { TMPDIR: folder });
  onTestFinished(async () => void (await chaos.end('SIGTERM')));
  const code = await chaos.ended;
  expect([code, chaos.stdout.trim().split('\n').length], chaos.stderr).toEqual([0, 1]);
  expect(JSON.parse(chaos.stdout), chaos.stderr).toMatchObject({ kills: 1, reportedEarly: 0, left: 0 });
  expect(await leftovers(folder, 5000)).toEqual([]);
});
