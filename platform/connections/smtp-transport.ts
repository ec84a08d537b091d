import { isIP } from 'node:net';
import nodemailer from 'nodemailer';
import type { SmtpSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from './egress.ts';
import { explainFailure, type OutsideFailure } from './failure.ts';

/** A connection to the mail server, to an address that was checked. Close it. */
export async function smtpTransport(egress: Egress, settings: Omit<SmtpSettings, 'to'>, timeoutMs: number) {
  const address = await egress.address(settings.host);
  return nodemailer.createTransport({
    host: address,
    port: settings.port,
    secure: settings.tls === 'implicit',
    requireTLS: settings.tls === 'starttls',
    ignoreTLS: settings.tls === 'none',
    // The certificate must be for the name that was given, not for the address it resolved to.
    tls: isIP(settings.host) === 0 ? { servername: settings.host } : {},
    ...(settings.username === undefined || settings.password === undefined ? {} : { auth: { user: settings.username, pass: settings.password } }),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

/** As `explainFailure`, for what a mail server answers. RFC 5321: 4yz may succeed later, 5yz will not. */
export function explainSmtpFailure(error: unknown): OutsideFailure {
  if (!(error instanceof Error)) return explainFailure(error);
  const reply = 'responseCode' in error && typeof error.responseCode === 'number' ? error.responseCode : undefined;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'EAUTH') return { message: 'the mail server refused the user name or password', retryable: reply !== undefined && reply < 500 };
  if (code === 'ETLS') return { message: 'no encrypted connection to the mail server', retryable: false };
  if (reply !== undefined) {
    const what = code === 'EENVELOPE' ? 'refused the sender or a recipient' : 'refused the message';
    return { message: `the mail server ${what} (SMTP ${reply})`, retryable: reply < 500 };
  }
  // nodemailer keeps the system's own code in the text only: refused connections and untrusted certificates look alike.
  if (code === 'ESOCKET' || code === 'ECONNECTION') return { message: 'no connection to the mail server', retryable: true };
  return explainFailure(error);
}
