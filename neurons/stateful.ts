import type { Outcomes } from './outcome.ts';
import type { SignalContext } from './signal-context.ts';

/** Bounded state of one series or group, live in memory for the length of one evaluation. */
export interface LiveState {
  /** Event time (ms) at which {@link passTime} has something to do; null for never. */
  readonly dueMs: number | null;
  /** Takes a signal in. @throws {ExpressionError} when an expression fails on it. */
  accept(context: SignalContext, outcomes: Outcomes): void;
  /** Event time has come to `watermarkMs`. */
  passTime(watermarkMs: number, outcomes: Outcomes): void;
  /** Exact serialisation; empty when there is nothing to remember. */
  bytes(): Uint8Array;
}

/** A kind of neuron that remembers, compiled. */
export interface StatefulKind {
  /** Whether the signals of one evaluation are taken in order of event time; otherwise in the order given. */
  readonly sortsByTime: boolean;
  /** The series or group a signal belongs to. @throws {ExpressionError} */
  seriesOf(context: SignalContext): string;
  /** @param bytes what {@link LiveState.bytes} gave; bytes of an older format count as undefined, so the series starts anew. */
  open(series: string, bytes: Uint8Array | undefined): LiveState;
}

/** Longest name of a series or group, in UTF-16 code units. */
export const MAX_SERIES_CHARACTERS = 1024;
