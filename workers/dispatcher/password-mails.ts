import { PASSWORD_MAIL_CHANNEL } from '../../database/password-mails.ts';
import { publicUrl } from '../../platform/approvals/links.ts';
import { mailServerOf } from '../../platform/config/mail-server.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { Challenges } from '../../platform/identity/challenges.ts';
import { PasswordMailer } from '../../platform/identity/forgotten-passwords.ts';
import { Grants } from '../../platform/identity/grants.ts';
import { PasswordLinks } from '../../platform/identity/password-links.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const MAILS_AT_ONCE = 20;

/** Sends what people asked for who forgot their password. */
export function createPasswordMails({ config, database, keys }: Pick<BackgroundProcess, 'config' | 'database' | 'keys'>): Drain {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const address = publicUrl(config);
  const mailer = new PasswordMailer({
    database,
    keys,
    grants: new Grants(database),
    links: new PasswordLinks(new Challenges(database, keys), address),
    connections: new Connections({ database, keys, egress }),
    egress,
    mailServer: mailServerOf(config),
    publicUrl: address,
  });
  return {
    name: 'password-mails',
    channels: [PASSWORD_MAIL_CHANNEL],
    pollMs: 1000,
    run: async (signal) => (await mailer.run(MAILS_AT_ONCE, signal)) === MAILS_AT_ONCE,
  };
}
