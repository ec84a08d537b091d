import { defineConfig } from 'vitest/config';

/** Suites on a Kubernetes control plane and on nodes of IPFS, which take minutes to build where they were never built: they come last. */
const CLUSTER = ['test/content/*.e2e.test.ts', 'test/cluster/*.e2e.test.ts', 'test/rollout/*.e2e.test.ts', 'test/operator/*.e2e.test.ts', 'test/helm/*.e2e.test.ts'];
/** Suites that measure the machine they run on: nothing else runs beside them. */
const ALONE = ['test/demo/*.e2e.test.ts', 'test/load/*.e2e.test.ts', 'test/deploy/monitoring.e2e.test.ts'];
const PROCESSES = ['test/environment/process-coverage.ts'];
/** What a test waits for comes from other processes, on machines of any speed: vitest's second is for what happens at once. */
const WAITING = { expect: { poll: { timeout: 20_000 } } };
/**
 * The same for suites that need more than their own process, and in CI a second try, which test/main.ts names: of some 1,500 tests that wait for
 * databases, browsers and clusters on two cores one fails every few runs for reasons of the machine (ADR 0345).
 */
const WAITING_FOR_OTHERS = { expect: { poll: { timeout: 90_000 } }, retry: process.env['CI'] === undefined ? 0 : 1 };

export default defineConfig({
  test: {
    coverage: {
      provider: 'v8',
      reporter: ['json'],
      reportsDirectory: 'coverage',
      clean: false,
      include: ['{schemas,workflows,activities,neurons,platform,database,workers,api,clients,cli,console,deploy}/**/*.ts'],
      reportOnFailure: true,
    },
    projects: [
      { test: { ...WAITING, name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/**/*.integration.test.ts', 'test/**/*.e2e.test.ts', '**/node_modules/**', 'test/fixtures/**'], pool: 'forks', testTimeout: 30_000, sequence: { groupOrder: 1 } } },
      {
        test: {
          ...WAITING_FOR_OTHERS,
          name: 'integration',
          include: ['test/**/*.integration.test.ts'],
          globalSetup: ['test/environment/global-setup.ts'],
          setupFiles: PROCESSES,
          pool: 'forks',
          // One file more than two processors: about half of the time a file waits for others.
          maxWorkers: 3,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...WAITING_FOR_OTHERS,
          name: 'e2e',
          include: ['test/**/*.e2e.test.ts'],
          exclude: [...ALONE, ...CLUSTER, '**/node_modules/**', 'test/fixtures/**'],
          setupFiles: PROCESSES,
          pool: 'forks',
          // Each brings up a stack of its own and mostly waits for it.
          maxWorkers: 2,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          ...WAITING_FOR_OTHERS,
          name: 'alone',
          include: ALONE,
          setupFiles: PROCESSES,
          pool: 'forks',
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 4 },
        },
      },
      {
        test: {
          ...WAITING_FOR_OTHERS,
          name: 'cluster',
          include: CLUSTER,
          globalSetup: ['test/environment/global-setup.ts'],
          setupFiles: PROCESSES,
          pool: 'forks',
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 5 },
        },
      },
    ],
  },
});
