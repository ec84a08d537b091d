import { z } from 'zod';
import type { HalError } from '../schemas/errors.ts';

/** Body of every failure answer: RFC 9457, with HAL9's `type` path, field errors and what to do now. */
export const problemSchema = z
  .object({
    type: z.string().describe('Path of the page that explains this kind of failure; its last segment is the failure type.'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().describe('The request id, also in X-Request-Id and in the logs.'),
    remedy: z.string().describe('What you can do now.'),
    retryable: z.boolean().describe('Whether the same request may succeed later without a change.'),
    errors: z.array(z.object({ path: z.string().describe('JSON pointer to the offending field.'), message: z.string() })),
  })
  .meta({ id: 'Problem' });

export type Problem = z.output<typeof problemSchema>;

export const PROBLEM_TYPE = 'application/problem+json';

export function problemOf(error: HalError, requestId: string): Problem {
  const failure = error.failure;
  return {
    type: `/problems/${error.type}`,
    title: failure.title,
    status: failure.status,
    detail: error.message,
    instance: requestId,
    remedy: failure.remedy,
    retryable: failure.retryable,
    errors: [...error.errors],
  };
}
