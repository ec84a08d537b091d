import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { findKafka, KAFKA_MISSING } from '../environment/kafka.ts';
import { findRabbit, RABBITMQ_MISSING } from '../environment/rabbitmq.ts';
import { Launched, leftovers, removeFolder, temporaryFolder } from '../deploy/launched.ts';

const missing = [...((await findKafka()) === undefined ? [KAFKA_MISSING] : []), ...((await findRabbit()) === undefined ? [RABBITMQ_MISSING] : [])];
if (missing.length > 0 && process.env['CI'] !== undefined) throw new Error(missing.join('\n'));
for (const words of missing) process.stderr.write(`${words}\n`);

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

it.skipIf(missing.length > 0)('takes every message in once and in order while brokers and processes are killed and Temporal hangs, and leaves nothing behind', { timeout: 600_000 }, async () => {
  const chaos = new Launched(['chaos', 'triggers', '--smoke', '--json'], { TMPDIR: folder });
  onTestFinished(async () => void (await chaos.end('SIGTERM')));
  const code = await chaos.ended;
  expect([code, chaos.stdout.trim().split('\n').length], chaos.stderr).toEqual([0, 1]);
  expect(JSON.parse(chaos.stdout)).toMatchObject({ messages: 400, lost: 0, duplicated: 0, outOfOrder: 0, kills: 4, takenInWhileDown: 0, ackedNotCommitted: 0, sentWhileDown: 40 });
  expect(chaos.stderr).toMatch(/availability of the API during the kills: [\d.]+ %/);
  expect(await leftovers(folder, 5000)).toEqual([]);
});
