import type { Egress } from '../../platform/connections/egress.ts';
import type { DataSource } from '../../platform/privacy/data-source.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { PostgresDataSource } from './postgres-data-source.ts';

/** What connectors reach the world with. */
export interface ConnectorParts {
  readonly egress: Egress;
}

const CONNECTORS: Readonly<Record<SourceKind, (source: OpenPrivacySource, parts: ConnectorParts) => DataSource>> = {
  postgres: (source, { egress }) => new PostgresDataSource(source, egress),
};

/** The system behind a declared source. Nothing is connected yet. */
export function connect(source: OpenPrivacySource, parts: ConnectorParts): DataSource {
  return CONNECTORS[source.kind](source, parts);
}
