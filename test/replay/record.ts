import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { connectTemporalClient } from '../../platform/temporal/connect.ts';
import { recordHistory } from './recorder.ts';

/** `npm run record:history -- WORKFLOW_ID CASE`, with the settings of the stack that ran it. Use test data only: the file is not encrypted. */
const [workflowId, name] = process.argv.slice(2);
if (workflowId === undefined || name === undefined) {
  process.stderr.write('usage: npm run record:history -- WORKFLOW_ID CASE\n');
  process.exit(2);
}
const config = loadConfig(process.env);
const keys = await loadKeyRing(config);
const temporal = await connectTemporalClient(config, createDataConverter(keys));
process.stdout.write(`${await recordHistory(temporal.client, keys, workflowId, name)}\n`);
await temporal.close();
