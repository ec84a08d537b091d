import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowService, isGrpcServiceError, type Connection, type ConnectionLike, type Metadata } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { TemporalTarget } from './connect.ts';
import { CORE_LOGGING, NATIVE_CHANNEL } from './native-core.ts';
import { sdkLogger } from './sdk-logger.ts';

/**
 * Short calls that requests wait for and that come by the hundred a second. Long polls, reads that somebody may give up on (the native core knows no
 * AbortSignal) and what is rare stay with gRPC in JavaScript.
 */
const QUICK: ReadonlySet<string> = new Set(['StartWorkflowExecution', 'SignalWorkflowExecution', 'SignalWithStartWorkflowExecution']);

/** gRPC status codes (https://grpc.io/docs/guides/status-codes/). */
const CANCELLED = 1;
const DEADLINE_EXCEEDED = 4;

/** Pause before connecting is tried again, milliseconds. Until then all calls go the other way, so nobody waits for it. */
const RECONNECT_MS = 1_000;

/**
 * A connection that makes {@link QUICK} calls with the native core of Temporal's SDK, the one that workers have, and all others with the connection it
 * was given. A start costs the API a fifteenth less of processor time so (ADR 0392). Deadlines hold for both; failures of both are gRPC's.
 */
export class QuickConnection implements ConnectionLike {
  readonly plugins = [];
  readonly workflowService: WorkflowService;
  readonly #other: Connection;
  readonly #closed = new AbortController();
  readonly #connecting: Promise<void>;
  #native: NativeConnection | undefined;

  /** @param logger what the core says itself. */
  constructor(other: Connection, target: TemporalTarget, logger: Logger) {
    this.#other = other;
    this.workflowService = WorkflowService.create((method, request, done) => {
      const native = QUICK.has(method.name) ? this.#native : undefined;
      // The core may have been connected after the caller set its deadline, and has not heard of it then.
      if (native?.callContextStorage.getStore()?.deadline === undefined) this.#other.workflowService.rpcImpl?.(method, request, done);
      else native.workflowService.rpcImpl?.(method, request, (error, response) => done(error === null ? null : asDeadline(error), response));
    });
    this.#connecting = this.#connect(target, logger).catch((error: unknown) => {
      logger.warn({ err: error }, 'the native core cannot be loaded: all calls to Temporal go through gRPC in JavaScript');
    });
  }

  get operatorService(): ConnectionLike['operatorService'] {
    return this.#other.operatorService;
  }

  ensureConnected(): Promise<void> {
    return this.#other.ensureConnected();
  }

  withDeadline<R>(deadline: number | Date, call: () => Promise<R>): Promise<R> {
    const native = this.#native;
    return this.#other.withDeadline(deadline, native === undefined ? call : () => native.withDeadline(deadline, call));
  }

  withMetadata<R>(metadata: Metadata, call: () => Promise<R>): Promise<R> {
    const native = this.#native;
    return this.#other.withMetadata(metadata, native === undefined ? call : () => native.withMetadata(metadata, call));
  }

  withAbortSignal<R>(signal: AbortSignal, call: () => Promise<R>): Promise<R> {
    return this.#other.withAbortSignal(signal, call);
  }

  /** Closes its own half; the connection it was given is its owner's. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#connecting;
    const native = this.#native;
    this.#native = undefined;
    await native?.close();
  }

  async #connect(target: TemporalTarget, logger: Logger): Promise<void> {
    const connect = await loadCore(logger);
    while (!this.#closed.signal.aborted) {
      try {
        this.#native = await connect(target);
        return;
      } catch (error) {
        logger.debug({ reason: error instanceof Error ? error.message : String(error) }, 'the native core is not connected to Temporal yet');
        await sleep(RECONNECT_MS, undefined, { signal: this.#closed.signal }).catch(() => undefined); // closed meanwhile: the loop ends
      }
    }
  }
}

/** The core says CANCELLED when the time is up, and nobody else cancels its calls. */
function asDeadline(error: Error): Error {
  return isGrpcServiceError(error) && error.code === CANCELLED ? Object.assign(error, { code: DEADLINE_EXCEEDED }) : error;
}

/** Loaded on demand: 50 MiB that processes without it need not carry. Once a process, as the core is. */
async function loadCore(logger: Logger): Promise<(target: TemporalTarget) => Promise<NativeConnection>> {
  const sdk = await import('@temporalio/worker');
  sdk.Runtime.install({
    logger: sdkLogger(logger),
    // Signals are the process's own.
    shutdownSignals: [],
    telemetryOptions: { logging: CORE_LOGGING },
  });
  return (target) => sdk.NativeConnection.connect({ ...target, ...NATIVE_CHANNEL });
}
