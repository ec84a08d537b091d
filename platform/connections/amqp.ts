import { isIP } from 'node:net';
import { connect, type ChannelModel } from 'amqplib';
import type { AmqpSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from './egress.ts';
import { explainFailure, type OutsideFailure } from './failure.ts';

/** Seconds between signs of life; two missed ones end the connection. */
const HEARTBEAT_SECONDS = 10;

/** Connects to exactly the address that was checked. The caller closes it, and hears of its end by `close`. */
export async function connectAmqp(egress: Egress, settings: AmqpSettings, timeoutMs: number): Promise<ChannelModel> {
  const { host, port, tls, username, password, vhost } = settings;
  const hostname = await egress.address(host);
  const server = { protocol: tls ? 'amqps' : 'amqp', hostname, port: port ?? (tls ? 5671 : 5672), username, password, vhost, heartbeat: HEARTBEAT_SECONDS };
  return connect(server, { timeout: timeoutMs, noDelay: true, ...(tls && isIP(host) === 0 ? { servername: host } : {}), clientProperties: { connection_name: 'hal9' } });
}

/** In words of our own: those of the server may repeat what was sent. */
export function explainAmqpFailure(error: unknown): OutsideFailure {
  const text = error instanceof Error ? error.message : '';
  if (/ACCESS[_-]REFUSED|403|Handshake terminated/i.test(text)) return { message: 'the broker refuses the user, the password or the access', retryable: false };
  if (/NOT[_-]FOUND|404/i.test(text)) return { message: 'the broker has no such queue or exchange', retryable: false };
  if (/NOT[_-]ALLOWED|530/i.test(text)) return { message: 'the broker has no such virtual host, or not for this user', retryable: false };
  if (/RESOURCE[_-]LOCKED|405/i.test(text) || /exclusive/i.test(text)) return { message: 'somebody else consumes the queue', retryable: true };
  if (/CONNECTION[_-]FORCED|320|Socket closed|Unexpected close|Heartbeat/i.test(text)) return { message: 'the broker closed the connection', retryable: true };
  return explainFailure(error);
}
