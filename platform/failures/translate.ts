import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
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

/**
 * Calls about runs are translated where they are made (`platform/operations`), which knows what was attempted. This is the
 * net below: a failure that names its own type, and a server that does not answer.
 */
function fromTemporal(error: unknown): HalError | undefined {
  if (error instanceof ApplicationFailure) return isFailureName(error.type) ? new HalError(error.type, error.message, { cause: error }) : undefined;
  return error instanceof ServiceError || isGrpcServiceError(error) ? unavailable('Temporal', error) : undefined;
}

function isFailureName(type: string | null | undefined): type is FailureName {
  return type != null && Object.hasOwn(FAILURES, type);
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
    if ('constraint' in error && error.constraint === 'last_owner') return new HalError('Conflict', 'the organisation would have no owner; make somebody else an owner first', { cause: error });
    // Raised by the triggers of plans, with a sentence for people.
    if (code === 'HQ402') return new HalError('QuotaExceeded', error.message, { cause: error });
    // NUL and halves of surrogate pairs, where a caller's text reached a statement or a jsonb column by a way of its own.
    if (code === '22021' || code === '22P05') return new HalError('InvalidInput', 'a text holds characters that cannot be stored, such as NUL', { cause: error });
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
