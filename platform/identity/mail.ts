import type { SmtpSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from '../connections/egress.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import { explainSmtpFailure, smtpTransport } from '../connections/smtp-transport.ts';

/** Time the mail server has, milliseconds. */
const MAIL_MS = 20_000;

/** The part of a connection that says through which server, and as whom. */
export type MailServer = Omit<SmtpSettings, 'to'>;

export interface Letter {
  /** Makes the Message-ID: the same in every try. */
  readonly id: string;
  readonly to: string;
  readonly subject: string;
  readonly lines: readonly string[];
}

/** Sends a letter to one address, once. @returns why the mail server did not take it; undefined when it did. */
export async function post(egress: Egress, server: MailServer, letter: Letter, signal: AbortSignal): Promise<OutsideFailure | undefined> {
  try {
    const transport = await smtpTransport(egress, server, MAIL_MS);
    const cut = (): void => transport.close();
    signal.addEventListener('abort', cut);
    try {
      await transport.sendMail({ from: server.from, to: letter.to, subject: letter.subject, text: letter.lines.join('\n'), messageId: `<${letter.id}@hal9>`, headers: { 'Auto-Submitted': 'auto-generated' } });
    } finally {
      signal.removeEventListener('abort', cut);
      transport.close();
    }
    return undefined;
  } catch (error) {
    return explainSmtpFailure(error);
  }
}

/** Names of organisations are what people typed. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
