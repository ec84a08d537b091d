/** Why a session cannot go on; named in the contract of the operation. */
export type BrowserErrorType =
  /** A step could not be taken: element missing, assertion wrong, page that never answers. */
  | 'StepFailed'
  /** The page looks otherwise than its baseline. */
  | 'PictureDiffers'
  /** The session took more time, memory, pages, bytes or steps than it may. */
  | 'SessionLimit'
  /** A step with a side effect was cut off, and nothing tells whether it happened. */
  | 'EffectUncertain'
  /** The page's process died. */
  | 'PageCrashed'
  /** No model is configured, or none answers, for a step in words. */
  | 'ModelUnavailable';

export class BrowserError extends Error {
  override readonly name = 'BrowserError';
  readonly type: BrowserErrorType;

  constructor(type: BrowserErrorType, message: string, options?: ErrorOptions) {
    super(message, options);
    this.type = type;
  }
}

export function stepFailed(message: string, cause?: unknown): BrowserError {
  return new BrowserError('StepFailed', message, cause === undefined ? undefined : { cause });
}
