import { AddressRefused, AnswerTooLong } from './egress.ts';

/** What went wrong in a call to a system outside. Written from scratch: texts of libraries and servers may repeat what we sent them. */
export interface OutsideFailure {
  /** One line for people; never holds a secret, an address or a part of the answer. */
  readonly message: string;
  /** Whether the same call may succeed later without anyone changing anything. */
  readonly retryable: boolean;
  /** Seconds the other side asked us to wait. */
  readonly retryAfterSeconds?: number;
}

/** Longest wait another system may ask for, seconds. */
const MAX_RETRY_AFTER = 3600;

/** A failure of the network or of our own checks. */
export function explainFailure(error: unknown): OutsideFailure {
  for (const cause of causes(error)) {
    if (cause instanceof AddressRefused) return { message: `${cause.message}; HAL9_ALLOW_PRIVATE_ADDRESSES would permit it`, retryable: false };
    if (cause instanceof AnswerTooLong) return { message: cause.message, retryable: false };
    if (cause.name === 'TimeoutError' || cause.name === 'AbortError') return { message: 'no answer in time', retryable: true };
    const known = NETWORK[codeOf(cause)];
    if (known !== undefined) return known;
  }
  return { message: 'the call failed', retryable: true };
}

/** What an HTTP status means when it is no success. */
export function explainStatus(status: number, headers: Headers): OutsideFailure {
  if (status === 401 || status === 403) return { message: `the credential was refused (HTTP ${status})`, retryable: false };
  if (status === 429 || status === 503) return { message: status === 429 ? 'too many requests (HTTP 429)' : 'the service is unavailable (HTTP 503)', retryable: true, ...retryAfter(headers) };
  if (status >= 500 || status === 408 || status === 425) return { message: `the service failed (HTTP ${status})`, retryable: true, ...retryAfter(headers) };
  if (status >= 300 && status < 400) return { message: `the service redirects (HTTP ${status}); give the final address`, retryable: false };
  return { message: `the request was refused (HTTP ${status})`, retryable: false };
}

const NETWORK: Readonly<Record<string, OutsideFailure>> = {
  ENOTFOUND: { message: 'the host name does not resolve', retryable: true },
  EAI_AGAIN: { message: 'the name server does not answer', retryable: true },
  ECONNREFUSED: { message: 'the connection was refused', retryable: true },
  ECONNRESET: { message: 'the connection was cut', retryable: true },
  EPIPE: { message: 'the connection was cut', retryable: true },
  EHOSTUNREACH: { message: 'the host cannot be reached', retryable: true },
  ENETUNREACH: { message: 'the network cannot be reached', retryable: true },
  ETIMEDOUT: { message: 'no answer in time', retryable: true },
  UND_ERR_CONNECT_TIMEOUT: { message: 'no connection in time', retryable: true },
  UND_ERR_HEADERS_TIMEOUT: { message: 'no answer in time', retryable: true },
  UND_ERR_BODY_TIMEOUT: { message: 'the answer stopped arriving', retryable: true },
  UND_ERR_SOCKET: { message: 'the connection was cut', retryable: true },
  CERT_HAS_EXPIRED: { message: 'the certificate of the host has expired', retryable: false },
  DEPTH_ZERO_SELF_SIGNED_CERT: { message: 'the certificate of the host is self-signed', retryable: false },
  SELF_SIGNED_CERT_IN_CHAIN: { message: 'the certificate of the host is not trusted', retryable: false },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: { message: 'the certificate of the host is not trusted', retryable: false },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: { message: 'the certificate of the host is not trusted', retryable: false },
  ERR_TLS_CERT_ALTNAME_INVALID: { message: 'the certificate is not for this host', retryable: false },
};

function* causes(error: unknown): Generator<Error> {
  let current = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth += 1) {
    yield current;
    if (current instanceof AggregateError) for (const inner of current.errors) if (inner instanceof Error) yield inner;
    current = current.cause;
  }
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function retryAfter(headers: Headers): { retryAfterSeconds?: number } {
  const text = headers.get('retry-after');
  if (text === null) return {};
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? { retryAfterSeconds: Math.min(MAX_RETRY_AFTER, Math.max(0, seconds)) } : {};
}
