import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/**/*.integration.test.ts', 'test/**/*.e2e.test.ts', '**/node_modules/**'], pool: 'forks' } },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.integration.test.ts'],
          globalSetup: ['test/environment/global-setup.ts'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      { test: { name: 'e2e', include: ['test/**/*.e2e.test.ts'], pool: 'forks', maxWorkers: 1, fileParallelism: false, testTimeout: 300_000, hookTimeout: 300_000 } },
    ],
  },
});
