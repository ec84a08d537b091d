import type { BrowserTurnOutcome } from '../../schemas/operations/browser-session.ts';

/** A worker that holds a slot for a session. */
export interface BrowserClaim {
  /** The queue of that worker; null when no slot became free in time: ask again. */
  readonly workerQueue: string | null;
}

export interface BrowserSegment {
  /** The operation's input, parsed again before it is used. */
  readonly input: unknown;
  readonly workerQueue: string;
}

/** A session that waits for a person. */
export interface BrowserAttendance {
  /** The operation's input, a flow or the settings of an interactive session. */
  readonly input: unknown;
  readonly workerQueue: string;
  readonly answered?: AnsweredSteps | undefined;
}

/** Steps of an interactive session that were answered: a browser that has it anew takes again what no checkpoint holds, before a person sees the page. */
export interface AnsweredSteps {
  /** Number of the first of `steps`. */
  readonly from: number;
  readonly steps: readonly unknown[];
}

/** How a stretch of work on a session ended. */
export type BrowserSegmentOutcome =
  | { readonly kind: 'done'; readonly result: unknown; readonly steps: number }
  | { readonly kind: 'hand-over'; readonly reason: string; readonly deadlineSeconds: number; readonly steps: number }
  | { readonly kind: 'yielded'; readonly steps: number };

/** What an interactive session is asked for, with the steps that a restart needs again. */
export interface BrowserTurn {
  /** The operation's input, parsed again before it is used. */
  readonly input: unknown;
  readonly workerQueue: string;
  /** Number of the first of `steps`. */
  readonly from: number;
  readonly steps: readonly unknown[];
  /** Number of the first step that was not answered yet. */
  readonly since: number;
  readonly turn: unknown;
}

/** How a turn of an interactive session ended. */
export type BrowserTurnResult =
  | { readonly kind: 'answered'; readonly outcome: BrowserTurnOutcome; readonly steps: number; /** Number of the first step that a restart needs again. */ readonly needed: number }
  | { readonly kind: 'hand-over'; readonly reason: string; readonly deadlineSeconds: number; readonly steps: number }
  | { readonly kind: 'yielded'; readonly steps: number };

export interface BrowserClosing {
  readonly state: 'done' | 'failed' | 'cancelled';
}

/** Served by browser workers; the session is that of the run. */
export interface BrowserActivities {
  /** Waits for a slot, first come, first served. */
  readonly claimBrowser: () => Promise<BrowserClaim>;
  /**
   * Takes steps for a while: restores the session first where this worker does not hold it.
   * @throws {ApplicationFailure} StepFailed, SessionLimit, EffectUncertain, PageCrashed, InvalidInput (not retryable); BrowserGone (to be taken up elsewhere).
   */
  readonly runBrowserSegment: (segment: BrowserSegment) => Promise<BrowserSegmentOutcome>;
  /**
   * Takes a step of an interactive session and looks at the page. A turn that was answered before is answered from the journal.
   * @throws {ApplicationFailure} SessionLimit, PageCrashed, InvalidInput (not retryable); BrowserGone (to be taken up elsewhere).
   */
  readonly takeBrowserTurn: (turn: BrowserTurn) => Promise<BrowserTurnResult>;
  /**
   * Keeps the browser for a person who was asked to take over, and shows them the page: until it is cancelled, or nobody looked for a while. What they
   * did is checkpointed. @throws {ApplicationFailure} as {@link runBrowserSegment}.
   */
  readonly attendBrowser: (attendance: BrowserAttendance) => Promise<void>;
  /** Ends the stretch of work on the session before its next step: somebody wants the page. */
  readonly interruptBrowser: () => Promise<void>;
  /** Lets the context go. */
  readonly releaseBrowser: () => Promise<void>;
}

/** Served by `core`: needs no browser. */
export interface BrowserRecordActivities {
  /** Ends the session on record and deletes its checkpoint. */
  closeBrowserSession(closing: BrowserClosing): Promise<void>;
}
