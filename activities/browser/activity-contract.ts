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

/** How a stretch of work on a session ended. */
export type BrowserSegmentOutcome =
  | { readonly kind: 'done'; readonly result: unknown; readonly steps: number }
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
  /** Lets the context go. */
  readonly releaseBrowser: () => Promise<void>;
}

/** Served by `core`: needs no browser. */
export interface BrowserRecordActivities {
  /** Ends the session on record and deletes its checkpoint. */
  closeBrowserSession(closing: BrowserClosing): Promise<void>;
}
