import type { z } from 'zod';
import type { FailureType } from '../errors.ts';
import type { Meter } from '../usage/meters.ts';

/** What a repeated execution of the operation does to the world. Decides what a replay must warn about. */
export type EffectClass =
  /** Computes only. */
  | 'pure'
  /** Changes something, but a second execution with the same input changes nothing more. */
  | 'idempotent'
  /** A second execution would act again; guarded by effect keys. */
  | 'irreversible';

/** A person, by one identity; kinds are those of the annotations of data sources, e.g. `email`. */
export interface Subject {
  readonly kind: string;
  readonly value: string;
}

/** Reads `kind:value`, e.g. `email:ada@example.net`; undefined when it is not that. */
export function parseSubject(text: string): Subject | undefined {
  const [, kind, value] = /^([a-z][a-z0-9_-]{0,49}):(.{1,500})$/i.exec(text.trim()) ?? [];
  return kind === undefined || value === undefined ? undefined : { kind, value };
}

/** A message that a run accepts. */
export interface MessageContract<Payload extends z.ZodType = z.ZodType, Answer extends z.ZodType = z.ZodType> {
  readonly description: string;
  readonly payload: Payload;
  /** Shape of the answer; queries and updates only. */
  readonly answer?: Answer;
  /** Permission needed besides `runs:write` (signals, updates) or `runs:read` (queries). */
  readonly permission?: string;
}

/** A length of time as Temporal reads it, e.g. `90 seconds`. */
export type DurationText = `${number} ${'second' | 'minute' | 'hour' | 'day' | 'week'}${'' | 's'}`;

export interface OperationTimeouts {
  /** Whole life of the run including retries and continue-as-new, e.g. `1 hour`. */
  readonly execution: DurationText;
  /** One workflow task; default 10 s. */
  readonly task?: DurationText;
}

/** What a start does when as many runs as the key allows are open. */
export type ConcurrencyConflict =
  /** It waits for its turn, in the order of the starts. */
  | 'queue'
  /** It is refused. */
  | 'reject'
  /** The oldest that runs is asked to stop, those that wait are ended, and this one takes the place. */
  | 'cancel-running'
  /** It is there, and ended before it begins. */
  | 'cancel-newest';

export interface ConcurrencyRule<Input> {
  /** Of the input, e.g. the machine it is about; undefined for no limit. Only its HMAC is kept. */
  readonly key: (input: Input) => string | undefined;
  /** Runs at once. */
  readonly limit: number;
  readonly onConflict: ConcurrencyConflict;
}

/** So many starts of an operation in an organisation, however they come (but those of HAL9's own cascades). */
export interface RateRule {
  /** In each window. */
  readonly starts: number;
  /** Length of the window, seconds. */
  readonly perSeconds: number;
}

/**
 * One long-running operation. Routes, validation, permissions, OpenAPI, CLI verbs, clients and reference docs come out of
 * this value; the workflow exported under {@link workflowName} implements it. Evolution rule: add optional fields only.
 */
export interface OperationContract<Input extends z.ZodType = z.ZodType, Result extends z.ZodType = z.ZodType> {
  /** Kebab-case, unique; part of routes and workflow ids. */
  readonly name: string;
  /** Counts additive changes of this contract, from 1. */
  readonly version: number;
  readonly summary: string;
  readonly description: string;
  readonly input: Input;
  readonly result: Result;
  readonly signals: Readonly<Record<string, MessageContract>>;
  readonly queries: Readonly<Record<string, MessageContract>>;
  readonly updates: Readonly<Record<string, MessageContract>>;
  /** Failures of its own, besides those in `schemas/errors.ts`. */
  readonly errors: Readonly<Record<string, FailureType>>;
  /** Task queue of the workflow, from `schemas/names/task-queues.ts` or of one's own worker. */
  readonly taskQueue: string;
  /** Permission to start it; default `runs:write`. Scopes may narrow it: `runs:write:type=<name>`. */
  readonly permission: string;
  /**
   * The person a run is about, if any: a key of theirs encrypts the run and its blobs, and an erasure destroys it. Never logged; rows hold a
   * keyed hash. A start over HTTP may say it instead (`HAL9-Subject`).
   */
  readonly subject?: (input: z.output<Input>) => Subject | undefined;
  /** `uuid`: a new id per start. A function: its answer is hashed (HMAC) into the id, so equal answers are one run. */
  readonly id: 'uuid' | ((input: z.output<Input>) => string);
  /** What a start does when a closed run has the id. */
  readonly reusePolicy: 'allow-duplicate' | 'allow-duplicate-failed-only' | 'reject-duplicate';
  /** What a start does when an open run has the id. */
  readonly conflictPolicy: 'fail' | 'use-existing' | 'terminate-existing';
  readonly timeouts: OperationTimeouts;
  readonly effect: EffectClass;
  /** So many runs at once for each key; default no limit. A start may bring a rule of its own instead. */
  readonly concurrency?: ConcurrencyRule<z.output<Input>>;
  /** What its runs use besides `runs`: where the hard quota of that is used up, no run starts. */
  readonly meter?: Meter;
  /** So many starts in a time; beyond it a start is refused with `RateLimited`. Default no limit. */
  readonly rate?: RateRule;
  /** Runs shorter than a day stay on the build that started them; longer ones move on and use `patched`. */
  readonly versioning: 'pinned' | 'auto-upgrade';
  /** `internal` operations are started by HAL9 only: listed and readable, but without a start route. */
  readonly exposure: 'public' | 'internal';
}

type Optional = 'version' | 'description' | 'signals' | 'queries' | 'updates' | 'errors' | 'taskQueue' | 'permission' | 'id'
  | 'reusePolicy' | 'conflictPolicy' | 'effect' | 'versioning' | 'exposure';

/** What an author writes: the rest has defaults. */
export type OperationDraft<Input extends z.ZodType, Result extends z.ZodType> =
  Omit<OperationContract<Input, Result>, Optional> & Partial<Pick<OperationContract<Input, Result>, Optional>>;

/**
 * Completes and checks a contract.
 * @throws {TypeError} when the name is not kebab-case.
 */
export function defineOperation<Input extends z.ZodType, Result extends z.ZodType>(
  draft: OperationDraft<Input, Result>,
): OperationContract<Input, Result> {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(draft.name)) {
    throw new TypeError(`operation name "${draft.name}" must be kebab-case`);
  }
  return {
    version: 1,
    description: draft.summary,
    signals: {},
    queries: {},
    updates: {},
    errors: {},
    taskQueue: 'core',
    permission: 'runs:write',
    id: 'uuid',
    reusePolicy: 'allow-duplicate',
    conflictPolicy: 'fail',
    effect: 'idempotent',
    versioning: 'pinned',
    exposure: 'public',
    ...draft,
  };
}

/** The workflow type that implements an operation: its name in camelCase (`access-export` -> `accessExport`). */
export function workflowName(operation: string): string {
  return operation.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
