import { Database } from '../../database/database.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { Bulk } from '../../platform/operations/bulk.ts';

/** A process that writes a bulk action down and dies before its run is started. Arguments: database, master keys, organisation, run. */
const [url = '', keys = '', orgId = '', runId = ''] = process.argv.slice(2);
const bulk = new Bulk({
  database: new Database({ url, poolSize: 1, applicationName: 'bulk-killed' }),
  keys: KeyRing.parse(keys),
  operations: {
    contracts: new Map(),
    start() {
      process.kill(process.pid, 'SIGKILL');
      return new Promise(() => undefined);
    },
  },
});
await bulk.begin({ ...systemCaller(orgId, 'test'), actor: { kind: 'api-key', id: '00000000-0000-4000-8000-00000000000a' } }, { action: 'signal', runIds: [runId], signal: { name: 'proceed', payload: { title: 'Dr' } }, reason: 'test', perSecond: 10 });
