import type { Config } from './config.ts';

/** A mail server as its address in HAL9_MAIL_URL says. */
interface MailServer {
  readonly kind: 'smtp';
  readonly host: string;
  readonly port: number;
  readonly tls: 'starttls' | 'implicit' | 'none';
  readonly username?: string;
  readonly password?: string;
  readonly from: string;
}

/**
 * The mail server of the installation: `smtps://` is encrypted from the start (port 465), `smtp://` demands STARTTLS (port 587), unless
 * `?tls=none` says that it is on this machine.
 * @returns undefined when there is none.
 */
export function mailServerOf({ HAL9_MAIL_URL: address, HAL9_MAIL_FROM: from }: Pick<Config, 'HAL9_MAIL_URL' | 'HAL9_MAIL_FROM'>): MailServer | undefined {
  if (address === undefined || from === undefined) return undefined;
  const url = new URL(address);
  const implicit = url.protocol === 'smtps:';
  const credentials = url.username === '' ? {} : { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  return {
    kind: 'smtp',
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (implicit ? 465 : 587) : Number(url.port),
    tls: implicit ? 'implicit' : url.searchParams.get('tls') === 'none' ? 'none' : 'starttls',
    ...credentials,
    from,
  };
}
