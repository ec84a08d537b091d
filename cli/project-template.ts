/** Files of a new project by path. */
export function projectFiles(name: string, version: string): ReadonlyMap<string, string> {
  return new Map([
    ['package.json', manifest(name, version)],
    ['tsconfig.json', TSCONFIG],
    ['.gitignore', 'node_modules/\n.hal9/\n'],
    ['README.md', readme(name)],
    ['schemas/operations/greet-guest.ts', CONTRACT],
    ['workflows/greet-guest/index.ts', WORKFLOW],
    ['activities/greetings/index.ts', ACTIVITIES],
    ['test/greet-guest.test.ts', TEST],
  ]);
}

function manifest(name: string, version: string): string {
  return `${JSON.stringify(
    {
      name,
      version: '0.1.0',
      private: true,
      type: 'module',
      scripts: { start: 'hal9 start --operations .', test: 'hal9 check', typecheck: 'tsc' },
      dependencies: { '@hal9/sdk': version, '@temporalio/activity': '1.24.0', '@temporalio/testing': '1.24.0', '@temporalio/worker': '1.24.0', '@temporalio/workflow': '1.24.0', hal9: version, zod: '4.6.7' },
      devDependencies: { '@types/node': '24.19.2', typescript: '6.0.3' },
    },
    null,
    2,
  )}\n`;
}

const TSCONFIG = `{
  "compilerOptions": {
    "target": "es2024",
    "module": "nodenext",
    "strict": true,
    "noEmit": true,
    "erasableSyntaxOnly": true,
    "verbatimModuleSyntax": true,
    "allowImportingTsExtensions": true,
    "skipLibCheck": true,
    "types": ["node"]
  },
  "include": ["schemas", "workflows", "activities", "test"]
}
`;

function readme(name: string): string {
  return `# ${name}

Operations for HAL9. \`npm test\` checks them, \`npm start\` serves them beside HAL9's own.

An operation is a contract in \`schemas/operations\`, a workflow of the same name in \`workflows\` and its activities. Routes, permissions,
validation, OpenAPI and the command \`hal9 run greet-guest --guest Ada\` come out of the contract.
`;
}

const CONTRACT = `import { defineOperation } from '@hal9/sdk';
import { z } from 'zod';

const input = z.object({ guest: z.string().min(1).describe('Who is greeted.'), patient: z.boolean().default(false).describe('Waits for the signal \`arrived\` first.') });
export type GreetGuestInput = z.output<typeof input>;

export default defineOperation({
  name: 'greet-guest',
  summary: 'Greets a guest',
  input,
  result: z.object({ greeting: z.string() }),
  signals: { arrived: { description: 'The guest is here.', payload: z.object({ title: z.string() }) } },
  timeouts: { execution: '1 hour' },
});
`;

const WORKFLOW = `import { reportProgress } from '@hal9/sdk/workflow';
import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';
import type { GreetingActivities } from '../../activities/greetings/index.ts';
import type { GreetGuestInput } from '../../schemas/operations/greet-guest.ts';

const { compose } = proxyActivities<GreetingActivities>({ startToCloseTimeout: '10 seconds' });

export async function greetGuest({ guest, patient }: GreetGuestInput): Promise<{ greeting: string }> {
  let title: string | undefined;
  setHandler(defineSignal<[{ title: string }]>('arrived'), (message) => {
    title = message.title;
  });
  const progress = reportProgress({ step: 'waiting', done: 0, total: 1, message: '' });
  if (patient) await condition(() => title !== undefined);
  progress({ step: 'greeting' });
  const greeting = await compose(guest, title ?? null);
  progress({ done: 1 });
  return { greeting };
}
`;

const ACTIVITIES = `import { HalError, type RegisteredActivities } from '@hal9/sdk';

export interface GreetingActivities {
  compose(guest: string, title: string | null): Promise<string>;
}

export const greetings: GreetingActivities = {
  async compose(guest, title) {
    if (guest === 'nobody') throw new HalError('InvalidInput', 'nobody cannot be greeted');
    return \`Welcome, \${title === null ? '' : \`\${title} \`}\${guest}.\`;
  },
};

export default function createGreetings(): RegisteredActivities {
  return { queues: { core: { ...greetings } } };
}
`;

const TEST = `import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startTestEnvironment, type TestEnvironment } from '@hal9/sdk/testing';
import { greetings } from '../activities/greetings/index.ts';
import greetGuest from '../schemas/operations/greet-guest.ts';

let environment: TestEnvironment;
before(async () => {
  environment = await startTestEnvironment(join(import.meta.dirname, '..'), { ...greetings });
});
after(() => environment.stop());

test('greets a guest', async () => {
  const run = await environment.start(greetGuest, { guest: 'Ada' });
  assert.deepEqual(await run.result(), { greeting: 'Welcome, Ada.' });
});

test('waits for a guest who is announced', async () => {
  const run = await environment.start(greetGuest, { guest: 'Grace', patient: true });
  await run.signal('arrived', { title: 'Admiral' });
  assert.deepEqual(await run.result(), { greeting: 'Welcome, Admiral Grace.' });
});
`;
