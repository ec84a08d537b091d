import type { Database } from '../../database/database.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import type { Config } from '../../platform/config/config.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { DataSource } from '../../platform/privacy/data-source.ts';
import { PrivacySources } from '../../platform/privacy/sources.ts';
import { connectTemporalClient } from '../../platform/temporal/connect.ts';
import { connect } from './connectors.ts';
import { Hal9DataSource } from './hal9-data-source.ts';
import { Histories } from './hal9-histories.ts';

/** Everything that may hold data of an organisation's people. */
export interface AllSources {
  /** Declared ones by name, then HAL9 itself. */
  of(orgId: string): Promise<DataSource[]>;
  close(): Promise<void>;
}

export async function openAllSources({ config, database, keys }: { readonly config: Config; readonly database: Database; readonly keys: KeyRing }): Promise<AllSources> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const subjects = new SubjectKeys({ database, keys });
  const temporal = await connectTemporalClient(config, createDataConverter(keys, subjects));
  const declared = new PrivacySources({ database, keys });
  const own = new Hal9DataSource({
    database,
    keys,
    subjects,
    blobs: createBlobStore(config, keys, subjects),
    histories: new Histories(temporal.client, new EncryptionCodec(keys, subjects)),
    connections: new Connections({ database, keys, egress }),
  });
  return {
    of: async (orgId) => [...(await declared.openAll(orgId)).map((source) => connect(source, { egress, database, keys })), own],
    async close() {
      await temporal.close();
      await egress.close();
    },
  };
}
