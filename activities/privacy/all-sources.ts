import type { Database } from '../../database/database.ts';
import { OwnPersonalDataStore } from '../../database/own-personal-data.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import type { Config } from '../../platform/config/config.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { ChangeTarget } from '../../platform/privacy/change-target.ts';
import type { DataSource } from '../../platform/privacy/data-source.ts';
import { normalised } from '../../platform/privacy/identities.ts';
import { OWN_SOURCE, PrivacySources } from '../../platform/privacy/sources.ts';
import { connectTemporalClient } from '../../platform/temporal/connect.ts';
import { ChangeByHand, type HandWorkFinder } from './change-by-hand.ts';
import { connect, type Connector } from './connectors.ts';
import { Hal9DataSource } from './hal9-data-source.ts';
import { Histories } from './hal9-histories.ts';

/** Everything that may hold data of an organisation's people. */
export interface AllSources {
  /** Declared ones by name, then HAL9 itself. */
  of(orgId: string): Promise<DataSource[]>;
  /** The same, as systems in which data change. */
  targetsOf(orgId: string): Promise<ChangeTarget[]>;
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
  const connectors = async (orgId: string): Promise<Connector[]> => (await declared.openAll(orgId)).map((source) => connect(source, { egress, database, keys }));
  const accounts = new ChangeByHand(ownAccounts(new OwnPersonalDataStore(database)), { database, keys });
  return {
    of: async (orgId) => [...(await connectors(orgId)).map(({ source }) => source), own],
    targetsOf: async (orgId) => [...(await connectors(orgId)).map(({ target }) => target), accounts],
    async close() {
      await temporal.close();
      await egress.close();
    },
  };
}

/**
 * Accounts of the person here: their own to correct, or an administrator's. Signals, histories and what rests on them say what was received
 * and done, and stay as they are; a restriction keeps them by its hold.
 */
function ownAccounts(store: OwnPersonalDataStore): HandWorkFinder {
  return {
    id: OWN_SOURCE,
    name: OWN_SOURCE,
    knows: [],
    async find({ orgId, identities, change }) {
      if (change.kind !== 'rectification') return { looksUpBy: [], work: [] };
      const accounts = await store.accounts({ orgId, texts: Object.values(identities).flat().map(normalised), subjects: [], keyIds: [] });
      return { looksUpBy: [], work: accounts.map((id) => ({ name: `account ${id}`, rows: 1 })) };
    },
  };
}
