/**
 * Why a SAML message was refused. For the log and the audit act; whoever sent it hears one text for all causes.
 * None of them says anything about a person.
 */
export type SamlCause =
  | 'too-large'
  | 'not-xml'
  | 'doctype'
  | 'structure'
  | 'algorithm'
  | 'signature'
  | 'decryption'
  | 'status'
  | 'issuer'
  | 'destination'
  | 'recipient'
  | 'audience'
  | 'time'
  | 'in-response-to'
  | 'unsolicited'
  | 'subject'
  | 'condition'
  | 'replay'
  | 'relay-state'
  | 'browser'
  | 'provider';

/** A SAML message is not to be believed. */
export class SamlRefusal extends Error {
  override readonly name = 'SamlRefusal';
  readonly reason: SamlCause;

  /** @param message for operators; must not hold anything the message said of a person. */
  constructor(reason: SamlCause, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.reason = reason;
  }
}
