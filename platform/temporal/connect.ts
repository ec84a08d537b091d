import { readFile } from 'node:fs/promises';
import { Client, Connection, type ClientInterceptors } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import { ConfigError, type Config } from '../config/config.ts';

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

export interface TemporalClient {
  readonly client: Client;
  close(): Promise<void>;
}

/**
 * A client for processes that only call Temporal. It connects on the first call, so the server may still be starting, and
 * reconnects by itself.
 */
export async function connectTemporalClient(config: TemporalConfig, dataConverter: DataConverter, interceptors?: ClientInterceptors): Promise<TemporalClient> {
  const connection = Connection.lazy({ ...(await temporalTarget(config)), connectTimeout: '10s' });
  const client = new Client({ connection, namespace: config.TEMPORAL_NAMESPACE, dataConverter, ...(interceptors && { interceptors }) });
  return { client, close: () => connection.close() };
}
