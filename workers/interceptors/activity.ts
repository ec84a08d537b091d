import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { ApplicationFailure } from '@temporalio/common';
import { HalError } from '../../schemas/errors.ts';

/** Turns expected failures of the house into Temporal's, so that retries follow the failure's own nature. */
export class FailureMapping implements ActivityInboundCallsInterceptor {
  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    try {
      return await next(input);
    } catch (error) {
      if (!(error instanceof HalError)) throw error;
      throw ApplicationFailure.create({
        type: error.type,
        message: error.message,
        nonRetryable: !error.failure.retryable,
        details: error.errors.length > 0 ? [error.errors] : [],
        cause: error,
        ...(error.retryAfterSeconds === undefined ? {} : { nextRetryDelay: error.retryAfterSeconds * 1000 }),
      });
    }
  }
}
