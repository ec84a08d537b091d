import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor, type ClientInterceptors, type ConnectionOptions } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import type { Logger } from 'pino';
import { ConfigError, type Config } from '../config/config.ts';
import { QuickConnection } from './native-calls.ts';

type TemporalConfig = Pick<
  Config,
  'TEMPORAL_ADDRESS' | 'TEMPORAL_NAMESPACE' | 'TEMPORAL_TLS_CA' | 'TEMPORAL_TLS_CERT' | 'TEMPORAL_TLS_KEY' | 'TEMPORAL_API_KEY'
>;

/** What both kinds of Temporal connection (client and worker) take. */
export interface TemporalTarget {
  readonly address: string;
  readonly tls?: true | { serverRootCACertificate?: Buffer; clientCertPair?: { crt: Buffer; key: Buffer } };
  readonly apiKey?: string;
}

/**
 * Address, TLS, client certificate and API key from the settings. An API key alone turns TLS on with the system's
 * authorities, as Temporal Cloud wants it.
 * @throws {ConfigError} for a missing address, half a client certificate, or a file that cannot be read.
 */
export async function temporalTarget(config: TemporalConfig): Promise<TemporalTarget> {
  const { TEMPORAL_ADDRESS: address, TEMPORAL_TLS_CA: ca, TEMPORAL_TLS_CERT: cert, TEMPORAL_TLS_KEY: key, TEMPORAL_API_KEY: apiKey } = config;
  if (address === undefined) throw new ConfigError('TEMPORAL_ADDRESS: not set; start everything with `npm start`, or name a Temporal server');
  if ((cert === undefined) !== (key === undefined)) throw new ConfigError('TEMPORAL_TLS_CERT and TEMPORAL_TLS_KEY go together');
  const file = async (name: string, path: string): Promise<Buffer> => {
    try {
      return await readFile(path);
    } catch (error) {
      throw new ConfigError(`${name}: cannot read ${path}`, { cause: error });
    }
  };
  const serverRootCACertificate = ca === undefined ? undefined : await file('TEMPORAL_TLS_CA', ca);
  const clientCertPair =
    cert === undefined || key === undefined ? undefined : { crt: await file('TEMPORAL_TLS_CERT', cert), key: await file('TEMPORAL_TLS_KEY', key) };
  const custom = { ...(serverRootCACertificate && { serverRootCACertificate }), ...(clientCertPair && { clientCertPair }) };
  const tls = Object.keys(custom).length > 0 ? custom : apiKey !== undefined ? true : undefined;
  return { address, ...(tls === undefined ? {} : { tls }), ...(apiKey === undefined ? {} : { apiKey }) };
}

/** Longest pause before a failed call is tried again, and so the longest wait of a close, milliseconds. */
const RETRY_MS = 1_000;

/** A connection that can be closed at any moment. */
export interface ClosableConnection {
  readonly connection: Connection;
  /** Lets retries that are due come to their end, at most some second, then closes. */
  readonly close: () => Promise<void>;
}

/**
 * Connects on the first call. The SDK retries a failed call from a timer that nothing ends, and throws out of that timer, past
 * everybody, when the connection was closed meanwhile: so a close makes no new retries, and waits for those under way.
 */
export function lazyConnection(options: ConnectionOptions): ClosableConnection {
  const usual = defaultGrpcRetryOptions({ maxIntervalMs: () => RETRY_MS });
  let closed = false;
  let quietAt = 0;
  const retry = makeGrpcRetryInterceptor({
    retryableDecider: (attempt, status) => !closed && usual.retryableDecider(attempt, status),
    delayFunction(attempt, status) {
      const delay = usual.delayFunction(attempt, status);
      quietAt = Math.max(quietAt, performance.now() + delay);
      return delay;
    },
  });
  const connection = Connection.lazy({ ...options, interceptors: [retry] });
  return {
    connection,
    close: async () => {
      closed = true;
      const wait = quietAt - performance.now();
      // A timer may fire a moment late.
      if (wait > 0) await sleep(wait + 50);
      await connection.close();
    },
  };
}

/** What the gRPC library does for each call beside making it: books that nobody reads, and buffers for retries that are made above it ({@link lazyConnection}). */
const CHANNEL = { 'grpc.enable_channelz': 0, 'grpc.enable_retries': 0 } as const;

export interface TemporalClient {
  readonly client: Client;
  close(): Promise<void>;
}

export interface ClientOptions {
  readonly interceptors?: ClientInterceptors;
  /** Frequent short calls are made by the SDK's native core ({@link QuickConnection}), which logs here. One client of a process only. Default: none are. */
  readonly quickCalls?: Logger | undefined;
}

/**
 * A client for processes that only call Temporal. It connects on the first call, so the server may still be starting, and
 * reconnects by itself.
 */
export async function connectTemporalClient(config: TemporalConfig, dataConverter: DataConverter, options: ClientOptions = {}): Promise<TemporalClient> {
  const { interceptors, quickCalls } = options;
  const target = await temporalTarget(config);
  const { connection, close } = lazyConnection({ ...target, connectTimeout: '10s', channelArgs: CHANNEL });
  const quick = quickCalls === undefined ? undefined : new QuickConnection(connection, target, quickCalls);
  const client = new Client({ connection: quick ?? connection, namespace: config.TEMPORAL_NAMESPACE, dataConverter, ...(interceptors && { interceptors }) });
  return {
    client,
    close: async () => {
      await quick?.close();
      await close();
    },
  };
}
