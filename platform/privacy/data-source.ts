import type { LegalHold } from '../../database/legal-holds.ts';
import type { Identities } from './identities.ts';

/** One person, asked for in one organisation by one request: what every source is told. Never logged. */
export interface SubjectInquiry {
  readonly orgId: string;
  /** Id of the erasure, export or other request: fences steps that must not run twice at once, and keys effects. */
  readonly requestId: string;
  readonly identities: Identities;
  /** Keyed hashes of the identities (`subjectHashes`): find rows that hold no more than these. */
  readonly subjects: readonly Buffer[];
  /** 32 random bytes that masks are keyed with; gone with the end of the request. */
  readonly maskKey: Uint8Array;
  /** Holds in force on tables (`table` is never null here); those on the person were heeded before. */
  readonly holds: readonly LegalHold[];
  /** Aborted when the run was cancelled. */
  readonly signal: AbortSignal;
}

/** What an erasure would do to the person's records of one table, key pattern, bucket, endpoint or task list. */
export interface PlannedTable {
  readonly table: string;
  readonly method: 'mask' | 'delete' | 'none';
  readonly why: string;
  /** Records of the person. */
  readonly rows: number;
  /** Records that stay because those of others need them. */
  readonly shared: number;
}

export interface SourcePlan {
  /** What must be mended before anything may be destroyed; empty: the erasure may begin here. Without personal data. */
  readonly refusals: readonly string[];
  /** Kinds of identities this source looks people up by; `any`: it looks for values, whatever their kind. */
  readonly looksUpBy: readonly string[] | 'any';
  /** Where something was found. */
  readonly tables: readonly PlannedTable[];
}

/** What one step of an erasure changed. */
export interface ChangedTable {
  readonly table: string;
  readonly changed: number;
}

/** Where the person is still named after an erasure. */
export interface Remainder {
  readonly table: string;
  /** Column, field or member. */
  readonly column: string;
  readonly rows: number;
  /** What allows it to stay, or null: then the erasure is not complete. */
  readonly kept: string | null;
  /** What somebody must do; default: annotate the column, or erase it by hand. */
  readonly remedy?: string;
}

/** A portion of what a source holds of a person; portions of one table may follow each other. */
export interface ExportedRecords {
  readonly table: string;
  /** Why it is held, e.g. the legal basis; shown to the person. */
  readonly about?: string;
  /** Values as JSON; a `Uint8Array` becomes a file beside. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

/**
 * A system that holds data of people, whatever it is made of: a PostgreSQL database, Redis, a bucket, an API, a list of tasks for people, HAL9 itself.
 *
 * All methods may be called again after a crash at any point, at once with those of other requests, and find by themselves what is there
 * now: nothing found by one call is handed to the next. They beat through the activity they run in (see `activities/privacy/index.ts`),
 * and end soon after `inquiry.signal` is aborted.
 *
 * Errors, of all methods: `HalError` of a retryable type when the system is away (the run tries again within minutes), `Conflict` when
 * it refuses (the run waits for people). Messages begin without the name of the source, which the caller puts in front, and never hold a value.
 */
export interface DataSource {
  /** Of its row in `privacy_sources`; built-in ones have a reserved word. */
  readonly id: string;
  readonly name: string;
  /** `together`: beside all others of the turn. `last`: after them; it may forget how to find the person. */
  readonly turn: 'together' | 'last';
  /** Finds the person and foretells what an erasure does, trying as much of it as can be taken back. Changes nothing. */
  plan(inquiry: SubjectInquiry): Promise<SourcePlan>;
  /**
   * Masks or deletes all that is left of the person. Irreversible effects carry `requestId` as their idempotency key where the system takes one.
   * @param count told after each step that was committed.
   */
  erase(inquiry: SubjectInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void>;
  /** Looks for the person again, trusting nothing that {@link erase} went by. Kept places are named with what allows them. */
  rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]>;
  /** All that it holds of the person, in portions of at most some thousand records. Changes nothing. */
  export(inquiry: SubjectInquiry): AsyncIterable<ExportedRecords>;
  /**
   * Finds people again whom nobody knows any more but by keyed hashes: values by which this source looks people up and which `isOne` of them.
   * Left out by sources that cannot list such values. Changes nothing.
   */
  recognise?(request: { readonly signal: AbortSignal }, isOne: (kind: string, value: string) => boolean): Promise<readonly { readonly kind: string; readonly value: string }[]>;
}
