import type { Egress } from '../connections/egress.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import { oneLine, post, type MailServer } from './mail.ts';

export interface InvitationMail {
  /** Of the invitation; makes the Message-ID. */
  readonly id: string;
  readonly to: string;
  readonly organisation: string;
  readonly link: string;
  readonly expiresAt: Date;
}

/** Sends the link to one address, once. @returns why the mail server did not take it; undefined when it did. */
export async function mailInvitation(egress: Egress, server: MailServer, { id, to, organisation, link, expiresAt }: InvitationMail, signal: AbortSignal): Promise<OutsideFailure | undefined> {
  const lines = [`You are invited to ${oneLine(organisation)}. Choose how you sign in:`, '', link, '', `The link works once, until ${expiresAt.toUTCString()}. If you did not expect it, do nothing.`];
  return post(egress, server, { id, to, subject: `Invitation to ${oneLine(organisation)} on HAL9`, lines }, signal);
}
