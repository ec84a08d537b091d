import type { SubjectChange } from '../../schemas/privacy/change.ts';
import type { ChangedTable, SubjectInquiry } from './data-source.ts';

/** One person, and what is to become of their data: what every source is told. Never logged. */
export interface ChangeInquiry extends SubjectInquiry {
  readonly change: SubjectChange;
  /** Whether something was found here before: the person may go by corrected identities by now. */
  readonly found: boolean;
}

export interface ChangePlan {
  /** What must be mended before anything is changed anywhere; without personal data. */
  readonly refusals: readonly string[];
  /** Kinds of identities this source looks people up by; `any`: it looks for values, whatever their kind, or asks people. */
  readonly looksUpBy: readonly string[] | 'any';
  /** Categories and purposes of consents it keeps fields of; `any`: people see to it. */
  readonly knows: readonly string[] | 'any';
  /** Records of the person that hold something else. */
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
}

/**
 * A system in which data of a person change, by HAL9 or by hand. The rules of {@link DataSource} hold: each call finds by itself what is
 * there now, may be repeated after a crash at any point, and fails in the same ways.
 */
export interface ChangeTarget {
  readonly id: string;
  readonly name: string;
  /** Finds what a change is about. Changes nothing. */
  planChange(inquiry: ChangeInquiry): Promise<ChangePlan>;
  /**
   * Writes what is not so yet.
   * @param count told after each step that was committed.
   */
  change(inquiry: ChangeInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void>;
  /** Reads again. @returns what is still otherwise and who must act, without a value; empty: nothing. */
  recheck(inquiry: ChangeInquiry): Promise<readonly string[]>;
}

/** Nothing else says that processing is restricted. */
export const NO_RESTRICTION_FIELD = 'records of the person, and nothing here says that processing is restricted: annotate a field with `restriction`, or declare a manual source for it';
/** Which of them was wrong nobody said. */
export const SEVERAL_VALUES = 'holds several different values of the person: say which was wrong (`was`)';
