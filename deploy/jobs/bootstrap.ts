import { loadConfig } from '../../platform/config/config.ts';
import { connectDatabase } from '../../platform/database/connect.ts';
import { bootstrap } from '../../platform/identity/bootstrap.ts';
import { invitationLink } from '../../platform/identity/invitations.ts';

/** Makes the first organisation where there is none, and prints what is known at this moment only. Run it at a terminal: its output belongs in no log. */
const config = loadConfig(process.env);
const database = await connectDatabase(config, 'hal9-bootstrap');
try {
  const first = await bootstrap(database);
  if (first === undefined) {
    process.stderr.write('There is an organisation already; its administrators make keys and invitations.\n');
    process.exitCode = 1;
  } else {
    const url = config.HAL9_PUBLIC_URL ?? `http://${config.HAL9_HOST === '0.0.0.0' ? '127.0.0.1' : config.HAL9_HOST}:${config.HAL9_PORT}`;
    process.stdout.write(`Organisation: ${first.orgId}\nAPI key of its administrator: ${first.apiKey}\nThe owner's account (once, within a week): ${invitationLink(url, first.ownerToken)}\n`);
  }
} finally {
  await database.close();
}
