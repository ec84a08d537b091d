export { Hal9Client, isJson, type CallOptions, type Run, type RunOutcome, type SignalReceipt, type StartedRun, type StartOptions, type Upload, type UploadOptions } from './client.ts';
export { isOperationId, type CallAnswer, type CallInput, type ItemOf, type OperationId, type PagedId } from './call.ts';
export { ApiError, ConnectionError, RequestTimeout, type Problem } from './problem.ts';
export { OPERATIONS } from './operations.ts';
export type { OperationParameter, OperationRow } from './operation-row.ts';
export type { StreamEvent, StreamOptions } from './event-stream.ts';
export type { ClientOptions, Retry } from './options.ts';
export type { components, operations, paths } from './schema.ts';
