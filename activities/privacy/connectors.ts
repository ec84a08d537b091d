import type { Database } from '../../database/database.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { ChangeTarget } from '../../platform/privacy/change-target.ts';
import type { DataSource } from '../../platform/privacy/data-source.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { ChangeByHand } from './change-by-hand.ts';
import { HttpDataSource } from './http-data-source.ts';
import { ManualDataSource, manualWork } from './manual-data-source.ts';
import { PostgresDataSource } from './postgres-data-source.ts';
import { RedisDataSource } from './redis-data-source.ts';
import { S3DataSource } from './s3-data-source.ts';

/** What connectors reach the world with. */
export interface ConnectorParts {
  readonly egress: Egress;
  readonly database: Database;
  readonly keys: KeyRing;
}

/** A system as data are found and erased there, and as they are changed. */
export interface Connector {
  readonly source: DataSource;
  readonly target: ChangeTarget;
}

type Connect = (source: OpenPrivacySource, parts: ConnectorParts) => Connector;

const both = (one: DataSource & ChangeTarget): Connector => ({ source: one, target: one });

/** Records that are found by HAL9 and changed by hand; consents are not kept in such a system. */
const foundByHal9: (one: DataSource, parts: ConnectorParts) => Connector = (one, parts) => ({
  source: one,
  target: new ChangeByHand(
    {
      id: one.id,
      name: one.name,
      knows: [],
      async find(inquiry) {
        if (inquiry.change.kind === 'consent') return { looksUpBy: [], work: [] };
        const { looksUpBy, tables } = await one.plan(inquiry);
        return { looksUpBy, work: tables.filter(({ rows }) => rows > 0).map(({ table, rows }) => ({ name: table, rows })) };
      },
    },
    parts,
  ),
});

const CONNECTORS: Readonly<Record<SourceKind, Connect>> = {
  postgres: (source, { egress }) => both(new PostgresDataSource(source, egress)),
  redis: (source, parts) => foundByHal9(new RedisDataSource(source, parts.egress), parts),
  s3: (source, parts) => foundByHal9(new S3DataSource(source, parts.egress), parts),
  http: (source, { egress }) => both(new HttpDataSource(source, egress)),
  manual: (source, { database, keys }) => ({ source: new ManualDataSource(source, { database, keys }), target: new ChangeByHand(manualWork(source), { database, keys }) }),
};

/** The system behind a declared source. Nothing is connected yet. */
export function connect(source: OpenPrivacySource, parts: ConnectorParts): Connector {
  return CONNECTORS[source.kind](source, parts);
}
