import type { SmtpSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from '../connections/egress.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import { explainSmtpFailure, smtpTransport } from '../connections/smtp-transport.ts';

/** Time the mail server has, milliseconds. */
const MAIL_MS = 20_000;

export interface InvitationMail {
  /** Of the invitation; makes the Message-ID. */
  readonly id: string;
  readonly to: string;
  readonly organisation: string;
  readonly link: string;
  readonly expiresAt: Date;
}

/** Sends the link to one address, once. @returns why the mail server did not take it; undefined when it did. */
export async function mailInvitation(egress: Egress, settings: SmtpSettings, mail: InvitationMail, signal: AbortSignal): Promise<OutsideFailure | undefined> {
  try {
    const transport = await smtpTransport(egress, settings, MAIL_MS);
    const cut = (): void => transport.close();
    signal.addEventListener('abort', cut);
    try {
      await transport.sendMail({
        from: settings.from,
        to: mail.to,
        subject: `Invitation to ${oneLine(mail.organisation)} on HAL9`,
        text: [`You are invited to ${oneLine(mail.organisation)}. Choose how you sign in:`, '', mail.link, '', `The link works once, until ${mail.expiresAt.toUTCString()}. If you did not expect it, do nothing.`].join('\n'),
        messageId: `<${mail.id}@hal9>`,
        headers: { 'Auto-Submitted': 'auto-generated' },
      });
    } finally {
      signal.removeEventListener('abort', cut);
      transport.close();
    }
    return undefined;
  } catch (error) {
    return explainSmtpFailure(error);
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
