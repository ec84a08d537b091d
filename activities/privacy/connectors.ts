import type { Database } from '../../database/database.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { DataSource } from '../../platform/privacy/data-source.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { HttpDataSource } from './http-data-source.ts';
import { ManualDataSource } from './manual-data-source.ts';
import { PostgresDataSource } from './postgres-data-source.ts';
import { RedisDataSource } from './redis-data-source.ts';
import { S3DataSource } from './s3-data-source.ts';

/** What connectors reach the world with. */
export interface ConnectorParts {
  readonly egress: Egress;
  readonly database: Database;
  readonly keys: KeyRing;
}

const CONNECTORS: Readonly<Record<SourceKind, (source: OpenPrivacySource, parts: ConnectorParts) => DataSource>> = {
  postgres: (source, { egress }) => new PostgresDataSource(source, egress),
  redis: (source, { egress }) => new RedisDataSource(source, egress),
  s3: (source, { egress }) => new S3DataSource(source, egress),
  http: (source, { egress }) => new HttpDataSource(source, egress),
  manual: (source, { database, keys }) => new ManualDataSource(source, { database, keys }),
};

/** The system behind a declared source. Nothing is connected yet. */
export function connect(source: OpenPrivacySource, parts: ConnectorParts): DataSource {
  return CONNECTORS[source.kind](source, parts);
}
