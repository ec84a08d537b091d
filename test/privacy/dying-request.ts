import { Database } from '../../database/database.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { Erasures } from '../../platform/privacy/erasures.ts';

/** A process that is killed between writing an erasure down and starting its run. Arguments: database, master keys, organisation, identities. */
const [url = '', masterKeys = '', orgId = '', identities = '{}'] = process.argv.slice(2);
const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('not reached');
};
const erasures = new Erasures({ database: new Database({ url, poolSize: 1, applicationName: 'hal9-test' }), keys: KeyRing.parse(masterKeys), operations: { start: die, signal: die, describe: die } });
await erasures.request(systemCaller(orgId, 'test'), { identities: JSON.parse(identities), verification: 'test' });
