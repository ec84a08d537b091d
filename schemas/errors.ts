/** Whose fault a failure is: the caller's, HAL9's own, or that of a system outside. */
export type FailureOwner = 'user' | 'us' | 'outside';

export interface FailureType {
  readonly owner: FailureOwner;
  /** Whether the same call may succeed later without anyone changing anything. */
  readonly retryable: boolean;
  /** HTTP status the API answers with. */
  readonly status: number;
  readonly title: string;
  /** What the reader can do now. */
  readonly remedy: string;
}

/**
 * The exhaustive list of failures HAL9 raises on purpose. The key is the `type` of a Temporal `ApplicationFailure`
 * and the last segment of a problem's `type` URI. People's own operations add theirs in their contract.
 */
export const FAILURES = {
  InvalidInput: { owner: 'user', retryable: false, status: 422, title: 'The input does not match the schema', remedy: 'Correct the fields named in `errors` and send the request again.' },
  MalformedBody: { owner: 'user', retryable: false, status: 400, title: 'The body cannot be read', remedy: 'Send well-formed JSON in UTF-8 with the matching Content-Type.' },
  MalformedRequest: { owner: 'user', retryable: false, status: 400, title: 'The request cannot be read', remedy: 'Send HTTP/1.1 as RFC 9112 describes it; a proxy in between may have broken it.' },
  HeadersTooLarge: { owner: 'user', retryable: false, status: 431, title: 'Address and headers are too large', remedy: 'Keep them below 16 KiB together; send large values in the body.' },
  RequestTooSlow: { owner: 'user', retryable: true, status: 408, title: 'The request came too slowly', remedy: 'Send the whole request at once; the connection is closed.' },
  BodyTooLarge: { owner: 'user', retryable: false, status: 413, title: 'The body is too large', remedy: 'Split the request; NDJSON streams have no total limit.' },
  UnsupportedMediaType: { owner: 'user', retryable: false, status: 415, title: 'The Content-Type is not supported', remedy: 'Use one of the content types the route documents.' },
  Unauthenticated: { owner: 'user', retryable: false, status: 401, title: 'No valid credential', remedy: 'Send `Authorization: Bearer <API key>` with a key that is neither expired nor revoked.' },
  WebhookRefused: { owner: 'user', retryable: false, status: 401, title: 'The webhook delivery is refused', remedy: 'Check address, secret and clock of the sender; the delivery log of the webhook says which check failed.' },
  Forbidden: { owner: 'user', retryable: false, status: 403, title: 'The credential lacks a permission', remedy: 'Use a key whose scopes include the permission named in `detail`.' },
  StepUpRequired: { owner: 'user', retryable: false, status: 403, title: 'A recent proof is needed', remedy: 'Show a second factor or your password at POST /v1/session/proof, then send the request again.' },
  NotFound: { owner: 'user', retryable: false, status: 404, title: 'Not found', remedy: 'Check the id and the organisation the key belongs to.' },
  MethodNotAllowed: { owner: 'user', retryable: false, status: 405, title: 'Method not allowed', remedy: 'Use one of the methods in the Allow header.' },
  UnknownOperation: { owner: 'user', retryable: false, status: 404, title: 'No such operation', remedy: 'GET /v1/workflows lists the operations this server knows.' },
  UnknownMessage: { owner: 'user', retryable: false, status: 404, title: 'The operation has no such signal, query or update', remedy: 'GET /v1/workflows lists the messages of each operation.' },
  Conflict: { owner: 'user', retryable: false, status: 409, title: 'The request conflicts with the current state', remedy: 'Read the resource again and decide what to change.' },
  PreconditionFailed: { owner: 'user', retryable: false, status: 412, title: 'The resource is not the one the request expects', remedy: 'Read the resource again and send its version in If-Match.' },
  IdempotencyMismatch: { owner: 'user', retryable: false, status: 409, title: 'The Idempotency-Key was used with another body', remedy: 'Use a new key for a new request.' },
  RunClosed: { owner: 'user', retryable: false, status: 409, title: 'The run has ended', remedy: 'Start a new run, or read its result.' },
  UpdateRejected: { owner: 'user', retryable: false, status: 409, title: 'The run refused the update', remedy: 'The detail says why; send a payload the run accepts in its present state.' },
  QueryFailed: { owner: 'us', retryable: true, status: 502, title: 'The run could not answer the query', remedy: 'Retry; if it persists look at the run in the Temporal UI.' },
  RateLimited: { owner: 'user', retryable: true, status: 429, title: 'Too many requests', remedy: 'Wait as long as Retry-After says.' },
  BudgetExceeded: { owner: 'user', retryable: false, status: 402, title: 'The budget is used up', remedy: 'Raise the budget or wait for its next period.' },
  QuotaExceeded: { owner: 'user', retryable: false, status: 402, title: 'The plan does not allow more', remedy: 'GET /v1/usage/summary shows the quotas; wait for the next month or ask for a larger plan.' },
  DependencyUnavailable: { owner: 'outside', retryable: true, status: 503, title: 'A dependency does not answer', remedy: 'Retry after Retry-After seconds; /readyz names the dependency.' },
  ExternalCallFailed: { owner: 'outside', retryable: true, status: 424, title: 'An external system failed', remedy: 'See the detail: the system that the request named, or its address here, is at fault. Send the request again once it answers.' },
  Timeout: { owner: 'outside', retryable: true, status: 504, title: 'The answer took too long', remedy: 'The work goes on; read its result later.' },
  ChainUnreachable: { owner: 'outside', retryable: true, status: 503, title: 'No node of the chain answers', remedy: 'Nothing to do if it is short: transactions go on by themselves. Otherwise check the RPC addresses of the chain.' },
  ChainMismatch: { owner: 'user', retryable: false, status: 409, title: 'The node belongs to another chain', remedy: 'Correct the chain id or the RPC addresses of the chain.' },
  ChainRefused: { owner: 'outside', retryable: true, status: 424, title: 'The node refused the transaction', remedy: 'See the detail for the words of the node.' },
  InsufficientFunds: { owner: 'user', retryable: false, status: 422, title: 'The signer cannot pay for the transaction', remedy: 'Send funds to the address of the signer, then submit it again.' },
  FeeAboveCap: { owner: 'outside', retryable: true, status: 503, title: 'The chain asks for more than the highest fee allowed', remedy: 'Wait: transactions go on when fees fall. Or raise maxFeePerGas in the policy of the chain.' },
  TransactionReverts: { owner: 'user', retryable: false, status: 422, title: 'The contract would revert the transaction', remedy: 'See the detail for its reason; correct the call and submit it again.' },
  NoContract: { owner: 'user', retryable: false, status: 422, title: 'There is no contract at this address', remedy: 'Check the address and the chain: data was given for an account without code.' },
  SignerUnavailable: { owner: 'user', retryable: true, status: 424, title: 'The key of the signer cannot be used', remedy: 'See the detail; bring the key back where the signer says it is.' },
  PoisonSignal: { owner: 'user', retryable: false, status: 422, title: 'A neuron failed on this signal', remedy: 'See the dead-letter list for the cause; mend the neuron or the signal and replay.' },
  Unopenable: { owner: 'user', retryable: false, status: 409, title: 'What was kept cannot be opened any more', remedy: 'If the detail names a master key, put it back behind the others of HAL9_MASTER_KEYS and repeat the request. Otherwise the bytes are lost or were erased: have the sender send it again.' },
  FenceLost: { owner: 'us', retryable: false, status: 409, title: 'Another attempt already committed this step', remedy: 'Nothing to do; the stored result is used.' },
  ActionRefused: { owner: 'user', retryable: false, status: 403, title: 'The host agent refused the action', remedy: 'Only allow-listed actions within the blast-radius limit run; see the agent configuration.' },
  NoBackup: { owner: 'user', retryable: false, status: 409, title: 'There is no backup to restore', remedy: 'Take one (deploy/recovery/backup.sh) and set HAL9_BACKUPS of the recovery worker to its folder; docs/how-to/disaster-recovery.md shows both.' },
  BackupDamaged: { owner: 'outside', retryable: false, status: 424, title: 'The backup is incomplete or damaged', remedy: 'Take a new base backup now, then find out what happened to the files that the detail names.' },
  ScratchFull: { owner: 'user', retryable: false, status: 409, title: 'The disk has no room for the restored database', remedy: 'Make room, or set HAL9_RECOVERY_SCRATCH to a folder on a larger disk.' },
  Internal: { owner: 'us', retryable: true, status: 500, title: 'HAL9 failed', remedy: 'Retry; report the request id if it persists.' },
} as const satisfies Record<string, FailureType>;

export type FailureName = keyof typeof FAILURES;

/** One offending field: `path` is a JSON pointer into the body. */
export interface FieldError {
  path: string;
  message: string;
}

/** The error every part of HAL9 throws on purpose; the API maps it to `application/problem+json` (RFC 9457). */
export class HalError extends Error {
  override readonly name = 'HalError';
  readonly type: FailureName;
  readonly errors: readonly FieldError[];
  /** Seconds after which a retry may succeed; sent as `Retry-After`. */
  readonly retryAfterSeconds: number | undefined;

  constructor(type: FailureName, detail: string, options: { errors?: readonly FieldError[]; retryAfterSeconds?: number; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.type = type;
    this.errors = options.errors ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get failure(): FailureType {
    return FAILURES[this.type];
  }
}
