import { HalError } from '../../schemas/errors.ts';

/** How traffic to a source is protected: not at all, encrypted to whoever answers, or to the holder of the host's certificate. */
export type SourceTls = 'disable' | 'require' | 'verify-full';

export interface SourceAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly tls: SourceTls;
}

const TLS: readonly SourceTls[] = ['disable', 'require', 'verify-full'];

/**
 * Reads `postgres://user:password@host:port/database?sslmode=...`; nothing else of libpq is understood, so that an address names no files.
 * @throws {HalError} InvalidInput that never shows the address.
 */
export function parseSourceAddress(text: string): SourceAddress {
  const refuse = (why: string): HalError => new HalError('InvalidInput', `the address cannot be used: ${why}`, { errors: [{ path: '/address', message: why }] });
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw refuse('postgres://user:password@host:port/database is expected');
  const database = decoded(url.pathname.slice(1));
  if (url.hostname === '' || database === undefined || database === '' || url.username === '') throw refuse('user, host and database are needed');
  const [user, password] = [decoded(url.username), decoded(url.password)];
  if (user === undefined || password === undefined) throw refuse('user and password must be percent-encoded');
  for (const name of url.searchParams.keys()) if (name !== 'sslmode') throw refuse(`only sslmode may follow the database`);
  const given = url.searchParams.get('sslmode') ?? 'verify-full';
  const tls = TLS.find((mode) => mode === given);
  if (tls === undefined) throw refuse(`sslmode is ${TLS.join(', ')}`);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? 5432 : Number(url.port), database, user, password, tls };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined; // the caller says what is wrong
  }
}
