import { Connection, isGrpcServiceError } from '@temporalio/client';
import pg from 'pg';
import type { Config } from '../../platform/config/config.ts';
import { temporalTarget } from '../../platform/temporal/connect.ts';
import { SetupError, systemCode } from './setup-error.ts';

const REACH_MS = 10_000;
/** gRPC status. */
const NOT_FOUND = 5;

/** @throws {SetupError} when the user's own PostgreSQL does not let us in. */
export async function assertPostgres(url: string, ssl: pg.ClientConfig['ssl']): Promise<void> {
  const client = new pg.Client({ connectionString: url, ssl, connectionTimeoutMillis: REACH_MS });
  try {
    await client.connect();
  } catch (error) {
    // The code alone: messages of the driver may quote what they were given.
    throw new SetupError(`PostgreSQL at ${new URL(url).host} cannot be used (${systemCode(error) ?? 'no answer'})`, 'start it, correct DATABASE_URL, or unset it for an embedded one', { cause: error });
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** @throws {SetupError} when the user's own Temporal cannot be reached or lacks the namespace. */
export async function assertTemporal(config: Config): Promise<void> {
  const target = await temporalTarget(config);
  let connection: Connection | undefined;
  try {
    connection = await Connection.connect({ ...target, connectTimeout: REACH_MS });
    await connection.workflowService.describeNamespace({ namespace: config.TEMPORAL_NAMESPACE });
  } catch (error) {
    if (isGrpcServiceError(error) && Number(error.code) === NOT_FOUND) {
      throw new SetupError(`Temporal at ${target.address} has no namespace ${config.TEMPORAL_NAMESPACE}`, 'create it, or correct TEMPORAL_NAMESPACE');
    }
    throw new SetupError(`Temporal at ${target.address} cannot be reached`, 'start it, correct TEMPORAL_ADDRESS and TEMPORAL_TLS_*, or unset them for an embedded one', { cause: error });
  } finally {
    await connection?.close();
  }
}
