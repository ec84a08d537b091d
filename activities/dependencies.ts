import type { Logger } from 'pino';
import type { Database } from '../database/database.ts';
import type { Operations } from '../platform/operations/contract.ts';
import type { Config } from '../platform/config/config.ts';

/** What a worker process hands to every activity factory. */
export interface ActivityDependencies {
  readonly config: Config;
  readonly database: Database;
  readonly operations: Operations;
  readonly logger: Logger;
}

/**
 * Default export of `activities/<folder>/index.ts`, found by discovery: activities by the task queue that serves them.
 * `shutdown` is called after the workers have drained.
 */
export type ActivityFactory = (dependencies: ActivityDependencies) => Promise<RegisteredActivities> | RegisteredActivities;

export interface RegisteredActivities {
  readonly queues: Readonly<Record<string, Readonly<Record<string, (...args: never[]) => Promise<unknown>>>>>;
  shutdown?(): Promise<void>;
}
