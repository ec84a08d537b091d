/** What a request tells of itself, for throttling, risk and audit. Personal data: never in a log line. */
export interface IncomingFacts {
  readonly address: string;
  readonly userAgent: string | undefined;
  readonly requestId: string;
  /** Whether browsers reach the API by HTTPS, which decides the `Secure` attribute of cookies. */
  readonly https: boolean;
}
