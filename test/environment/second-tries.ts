import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase } from 'vitest/node';

/** What a test that failed and then passed was, and why it failed first. */
export interface SecondTry {
  readonly test: string;
  readonly failure: string;
}

/**
 * Names the tests that passed only on a second try (`retry` of vitest.config.ts), into the file of `HAL9_SECOND_TRIES`, so that a run says which
 * tests lean on luck instead of hiding them.
 */
export default class SecondTries implements Reporter {
  readonly #found: SecondTry[] = [];

  onTestCaseResult(test: TestCase): void {
    if (test.diagnostic()?.flaky !== true) return;
    this.#found.push({ test: `${test.module.relativeModuleId} > ${test.fullName}`, failure: test.result().errors?.[0]?.message ?? '' });
  }

  onTestRunEnd(): void {
    const file = process.env['HAL9_SECOND_TRIES'];
    if (file !== undefined) writeFileSync(file, JSON.stringify(this.#found));
  }
}
