import {
  IllegalStateError,
  QueryNotRegisteredError,
  QueryRejectedError,
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure, WorkflowNotFoundError } from '@temporalio/common';
import { ZodError } from 'zod';
import { FAILURES, HalError, type FailureName, type FieldError } from '../../schemas/errors.ts';

/** Every thrown value as one of HAL9's failures. What is not expected becomes `Internal`, without its text. */
export function toHalError(error: unknown): HalError {
  if (error instanceof HalError) return error;
  if (error instanceof ZodError) return new HalError('InvalidInput', 'the input does not match the schema', { errors: fieldErrors(error), cause: error });
  return fromTemporal(error) ?? fromPostgres(error) ?? fromExpress(error) ?? new HalError('Internal', 'something went wrong inside HAL9', { cause: error });
}

/** @param prefix of the JSON pointers, e.g. `/query`; the default is the body itself. */
export function fieldErrors(error: ZodError, prefix = ''): FieldError[] {
  return error.issues.map((issue) => ({
    path: prefix + issue.path.map((segment) => `/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
    message: issue.message,
  }));
}

/** gRPC status codes, https://grpc.io/docs/guides/status-codes/. */
const GRPC = { cancelled: 1, invalidArgument: 3, deadlineExceeded: 4, notFound: 5, alreadyExists: 6, resourceExhausted: 8, failedPrecondition: 9, unavailable: 14 } as const;

function fromTemporal(error: unknown): HalError | undefined {
  if (error instanceof WorkflowNotFoundError) return new HalError('NotFound', 'no such run', { cause: error });
  if (error instanceof WorkflowExecutionAlreadyStartedError) return new HalError('Conflict', 'a run with this id exists already', { cause: error });
  if (error instanceof QueryNotRegisteredError) return new HalError('UnknownMessage', 'the run has no such query', { cause: error });
  if (error instanceof QueryRejectedError) return new HalError('RunClosed', 'the run has ended', { cause: error });
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return new HalError('Timeout', 'the run did not answer the update in time', { cause: error });
  if (error instanceof WorkflowUpdateFailedError) return applicationFailure(error.cause) ?? new HalError('UpdateRejected', error.cause?.message ?? 'the run refused the update', { cause: error });
  if (error instanceof WorkflowFailedError) return applicationFailure(error.cause) ?? new HalError('Conflict', 'the run did not complete', { cause: error });
  if (error instanceof IllegalStateError) return unavailable('Temporal', error);
  if (error instanceof ApplicationFailure) return applicationFailure(error);
  const code = error instanceof ServiceError ? grpcCode(error.cause) : grpcCode(error);
  switch (code) {
    case GRPC.notFound:
      return new HalError('NotFound', 'no such run', { cause: error });
    case GRPC.alreadyExists:
    case GRPC.failedPrecondition:
      return new HalError('Conflict', 'Temporal refused: the run is not in a state that allows this', { cause: error });
    case GRPC.invalidArgument:
      return new HalError('InvalidInput', 'Temporal refused the arguments', { cause: error });
    case GRPC.resourceExhausted:
      return new HalError('RateLimited', 'Temporal is at its rate limit', { retryAfterSeconds: 1, cause: error });
    case GRPC.cancelled:
    case GRPC.deadlineExceeded:
    case GRPC.unavailable:
      return unavailable('Temporal', error);
    default:
      return undefined;
  }
}

/** An activity's or workflow's own failure, when its type is one of the list. */
function applicationFailure(error: unknown): HalError | undefined {
  if (!(error instanceof ApplicationFailure) || !isFailureName(error.type)) return undefined;
  return new HalError(error.type, error.message, { cause: error });
}

function isFailureName(type: string | null | undefined): type is FailureName {
  return type != null && Object.hasOwn(FAILURES, type);
}

function grpcCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'number') return undefined;
  // gRPC errors carry metadata; other errors with numeric codes are not meant.
  return 'metadata' in error ? error.code : undefined;
}

/** SQLSTATE classes after which the same statement may succeed: connection, resources, shutdown, serialization, recovery. */
const TRANSIENT_SQLSTATE = /^(08|53|57P|40|25006)/;
const NETWORK_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOTFOUND', 'EHOSTUNREACH', 'EAI_AGAIN', 'ENOENT']);
/** What pg says without a code. */
const CONNECTION_LOST = /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Cannot use a pool after calling end|Query read timeout/;

function fromPostgres(error: unknown): HalError | undefined {
  if (error instanceof AggregateError) return error.errors.map(fromPostgres).find((mapped) => mapped !== undefined);
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code !== undefined && 'severity' in error) {
    if (TRANSIENT_SQLSTATE.test(code)) return unavailable('PostgreSQL', error);
    if (code === '23505') return new HalError('Conflict', 'there is one like this already', { cause: error });
    return undefined;
  }
  if (code !== undefined && NETWORK_CODES.has(code) && 'syscall' in error) return unavailable('PostgreSQL', error);
  return CONNECTION_LOST.test(error.message) ? unavailable('PostgreSQL', error) : undefined;
}

function fromExpress(error: unknown): HalError | undefined {
  // The router decodes path segments and throws on a broken percent escape.
  if (error instanceof URIError) return new HalError('MalformedBody', 'the path has a broken percent escape', { cause: error });
  return undefined;
}

function unavailable(dependency: string, cause: unknown): HalError {
  return new HalError('DependencyUnavailable', `${dependency} does not answer`, { retryAfterSeconds: 1, cause });
}
