import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { startAnvil } from '../environment/anvil.ts';
import { findKafka, KAFKA_MISSING, startKafka } from '../environment/kafka.ts';
import { findRabbit, RABBITMQ_MISSING, startRabbit } from '../environment/rabbitmq.ts';
import { blocksOf, pages, type Block } from './blocks.ts';

const ROOT = join(import.meta.dirname, '../..');
const execute = promisify(execFile);

/** A system outside that a page is about: where it is, as the page's variables, and its end. Undefined when there is no way to get it. */
type Outside = (folder: string) => Promise<{ readonly variables: Readonly<Record<string, string>>; readonly stop: () => Promise<void> } | undefined>;

const OUTSIDE: Readonly<Record<string, { readonly start: Outside; readonly missing: string }>> = {
  'docs/how-to/amqp.md': {
    missing: RABBITMQ_MISSING,
    async start(folder) {
      const tool = await findRabbit();
      if (tool === undefined) return undefined;
      const rabbit = await startRabbit(tool, folder);
      return { variables: { AMQP_HOST: '127.0.0.1', AMQP_PORT: String(rabbit.port) }, stop: () => rabbit.stop() };
    },
  },
  'docs/how-to/chain-consensus.md': {
    missing: 'NOT RUN: anvil is not installed (npm ci)',
    async start() {
      const node = await startAnvil({ chainId: 31337 });
      return { variables: { CHAIN_RPC: node.url }, stop: () => node.kill() };
    },
  },
  'docs/how-to/kafka.md': {
    missing: KAFKA_MISSING,
    async start(folder) {
      const tool = await findKafka();
      if (tool === undefined) return undefined;
      const kafka = await startKafka(tool, folder);
      return { variables: { KAFKA_BROKER: kafka.plain }, stop: () => kafka.stop() };
    },
  },
};

/** Every page as a stranger would type it, against a fresh stack: all its `bash` blocks in order, in one shell, in the repository. */
describe('documentation pages', async () => {
  let folder = '';
  let stack: Stack;
  const scripts = new Map<string, Block[]>();
  for (const page of await pages(ROOT)) {
    const blocks = (await blocksOf(ROOT, page)).filter((block) => ['bash', 'ts'].includes(block.language) && block.options['covered-by'] === undefined);
    if (blocks.length > 0) scripts.set(page, blocks);
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-docs-'));
    await chmod(folder, 0o755);
    stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' } });
  });
  afterAll(async () => {
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  });

  for (const [page, blocks] of scripts) {
    it(`${page} does what it says`, async () => {
      const needed = OUTSIDE[page];
      const place = await mkdtemp(join(folder, 'outside-'));
      await chmod(place, 0o755);
      const outside = await needed?.start(place);
      if (needed !== undefined && outside === undefined) {
        if (process.env['CI'] !== undefined) throw new Error(needed.missing);
        process.stderr.write(`${needed.missing}\n`);
        return;
      }
      const script = blocks.map((block) => (block.language === 'ts' ? `node --input-type=module-typescript <<'TS'\n${block.code}\nTS` : block.code));
      const file = join(folder, 'page.sh');
      await writeFile(file, ['set -euo pipefail', ...script].join('\n'));
      const run = execute('bash', [file], {
        cwd: ROOT,
        timeout: 240_000,
        maxBuffer: 16 * 1024 * 1024,
        env: {
          ...process.env,
          PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
          HAL9_URL: stack.url,
          HAL9_API_KEY: stack.first?.apiKey,
          DATABASE_URL: stack.databaseUrl,
          TEMPORAL_ADDRESS: stack.temporalAddress,
          TMPDIR: folder,
          ...outside?.variables,
        },
      });
      const ended = await run.then(() => 'ran', (failure: { stdout: string; stderr: string; message: string }) => `${failure.message}\n${failure.stdout.slice(-2000)}\n${failure.stderr.slice(-2000)}`);
      await outside?.stop();
      expect(ended).toBe('ran');
    });
  }
});
