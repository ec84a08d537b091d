import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { startStack } from '../../deploy/local/stack.ts';
import { SetupError } from '../../deploy/local/setup-error.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { findPostgresPrograms, POSTGRES_PROGRAMS_MISSING } from '../environment/postgres-programs.ts';
import { askAsAdministrator } from '../environment/stack-client.ts';
import type { Bench } from './arguments.ts';
import { bytesInFolder, bytesInHistories, bytesOf, difference, rowsOf } from './erasure/search.ts';
import { completed, forget, openShop } from './erasure/shop.ts';
import { othersOf, subjectOf } from './erasure/subjects.ts';

const AT_ONCE = 100;
const ONE_MS = 300_000;
const ALL_MS = 3_600_000;

/**
 * People in the tables of a shop (the 15 of the published schema where HAL9_TEST_DATA has it). One is erased, then many at once. After each the canaries of the erased are looked for
 * in full dumps of the shop and of HAL9's own database, in its data folder (logs, blobs, exports, the engine's files) and in every event of every run, decoded with every key there is;
 * rows of everybody else are compared byte by byte with how they were.
 * `subjects`: people. `canaryBytesLeft`: of the erased, anywhere. `othersChanged`: rows of others that are not as they were. `erasuresPerSecond`, `p95Ms`: of those asked for at once,
 * from the request to `complete`. Options: `--subjects N` (default 10,000), `--erasures N` (default 500).
 */
export const run: Bench = async (args) => {
  const subjects = args.number('subjects', 10_000);
  const many = Math.min(args.number('erasures', 500), subjects - 1);
  const programs = await findPostgresPrograms();
  if (programs === undefined) throw new SetupError('pg_dump is missing', POSTGRES_PROGRAMS_MISSING);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher'],
    postgresSettings: { max_connections: '300' },
    progress: args.progress,
    signal: args.signal,
  });
  try {
    const ask = askAsAdministrator(stack, args.signal);
    const shop = await openShop(stack, subjects);
    args.progress(`${String(subjects)} people in ${String(shop.tables)} tables`);
    const source = new pg.Client({ connectionString: shop.url.href });
    await source.connect();
    await ask('POST', '/v1/privacy/sources', { name: 'shop', kind: 'postgres', address: `${shop.url.href}?sslmode=disable`, annotations: shop.annotations });
    const config = loadConfig(stack.environment);
    const keys = await loadKeyRing(config);
    const connection = await Connection.connect({ address: stack.temporalAddress });
    const temporal = new Client({ connection, namespace: stack.temporalNamespace, dataConverter: createDataConverter(keys) });
    const left = async (words: ReadonlySet<string>): Promise<number> => {
      const histories = await bytesInHistories(words, temporal);
      const [dumped, own, files] = [bytesOf(words, await programs.dump(shop.url.href)), bytesOf(words, await programs.dump(stack.databaseUrl)), await bytesInFolder(words, stack.data)];
      args.progress(`bytes left: ${String(dumped)} in the dump of the shop, ${String(own)} in that of HAL9, ${String(files)} in its files, ${String(histories.bytes)} in ${String(histories.runs)} histories`);
      return dumped + own + files + histories.bytes;
    };
    const one = subjectOf(0);
    // What finds nothing must be able to find.
    const wanted = bytesOf(new Set(one.canaries), await programs.dump(shop.url.href));
    if (wanted === 0) throw new Error('the canaries are not in the dump before the erasure');
    const before = await rowsOf(source, othersOf([one]));
    await completed(ask, await forget(ask, one.email), ONE_MS);
    const leftOfOne = await left(new Set(one.canaries));
    const changedByOne = difference(before, await rowsOf(source, othersOf([one])));
    args.progress(`one of ${String(subjects)} erased: ${String(wanted)} bytes before, ${String(leftOfOne)} after; ${String(changedByOne)} rows of others changed`);

    const crowd = Array.from({ length: many }, (_, n) => subjectOf(n + 1));
    const beforeAll = await rowsOf(source, othersOf(crowd));
    const times: number[] = [];
    const began = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, many) }, async () => {
        for (let subject = crowd[next++]; subject !== undefined; subject = crowd[next++]) {
          const at = performance.now();
          await completed(ask, await forget(ask, subject.email), ALL_MS, 500);
          times.push(performance.now() - at);
          if (times.length % 50 === 0) args.progress(`${String(times.length)} erased, ${((times.length * 1000) / (performance.now() - began)).toFixed(2)} a second`);
        }
      }),
    );
    const seconds = (performance.now() - began) / 1000;
    const leftOfAll = await left(new Set(crowd.flatMap(({ canaries }) => canaries)));
    const changedByAll = difference(beforeAll, await rowsOf(source, othersOf(crowd)));
    times.sort((a, b) => a - b);
    await source.end();
    await connection.close();
    return {
      subjects,
      canaryBytesLeft: leftOfOne + leftOfAll,
      othersChanged: changedByOne + changedByAll,
      erasuresPerSecond: Number((many / seconds).toFixed(2)),
      p95Ms: Math.round(times[Math.min(times.length - 1, Math.floor(times.length * 0.95))] ?? Number.NaN),
      erasures: many + 1,
      tables: shop.tables,
    };
  } finally {
    await stack.stop();
  }
};
