import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { Launched, leftovers, removeFolder, temporaryFolder } from '../deploy/launched.ts';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

it('mines every transaction of one key once while its node and its worker are killed, and leaves nothing behind', async () => {
  const chaos = new Launched(['chaos', 'chain', '--smoke', '--json'], { TMPDIR: folder });
  onTestFinished(async () => void (await chaos.end('SIGTERM')));
  const code = await chaos.ended;
  expect([code, chaos.stdout.trim().split('\n').length], chaos.stderr).toEqual([0, 1]);
  expect(JSON.parse(chaos.stdout)).toMatchObject({ submitted: 40, minedOnce: 40, gaps: 0, manualSteps: 0, kills: 1 });
  expect(await leftovers(folder, 5000)).toEqual([]);
});
