import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { Client, ResultCodeError, type Entry } from 'ldapts';
import type { LdapSettings } from '../../schemas/rest/identity-providers.ts';
import type { Egress } from '../connections/egress.ts';
import { explainFailure, type OutsideFailure } from '../connections/failure.ts';

/** The directory answers but cannot be used as the settings say. The message is HAL9's own. */
export class DirectoryUnfit extends Error {
  override readonly name = 'DirectoryUnfit';
}

/** LDAP extended operation StartTLS (RFC 4511, 4.14). */
const START_TLS = '1.3.6.1.4.1.1466.20037';
const PAGE = 500;

/** RFC 4511, appendix A: what a server says to a name and password that it does not accept. */
const REFUSALS = new Set([
  19, // constraintViolation: locked by a password policy
  32, // noSuchObject
  34, // invalidDNSyntax
  48, // inappropriateAuthentication: the entry has no password
  49, // invalidCredentials
  53, // unwillingToPerform: locked, expired
]);

/**
 * One conversation with a directory, encrypted before anything secret is said. The socket is opened and secured here, once: the
 * library would open another, unencrypted and unbound, when the first breaks, and keeps what arrived before StartTLS, which somebody
 * in between may have sent (RFC 4513, 3.1.2).
 */
export class LdapConnection {
  readonly #client: Client;
  readonly #socket: Socket;

  private constructor(client: Client, socket: Socket) {
    this.#client = client;
    this.#socket = socket;
  }

  /**
   * Connects and secures the connection; nobody is bound yet.
   * @param signal ends the conversation whatever it waits for.
   * @throws {DirectoryUnfit} and whatever the network says; see {@link explainDirectory}.
   */
  static async open(egress: Egress, settings: LdapSettings, signal: AbortSignal): Promise<LdapConnection> {
    const { host, tls } = settings;
    const address = await egress.address(host);
    const port = settings.port ?? (tls === 'implicit' ? 636 : 389);
    const bare = connectTcp({ host: address, port });
    const cut = (): void => void bare.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    signal.addEventListener('abort', cut);
    bare.once('close', () => signal.removeEventListener('abort', cut));
    try {
      signal.throwIfAborted();
      await opened(bare, 'connect');
      if (tls === 'starttls') await askForTls(bare, settings);
      const socket = tls === 'none' ? bare : await secured(bare, settings);
      return new LdapConnection(clientOn(socket, settings), socket);
    } catch (error) {
      bare.destroy();
      throw error;
    }
  }

  /** @throws {DirectoryUnfit} when the directory does not accept it. */
  async bindService(settings: Pick<LdapSettings, 'bindDn' | 'bindPassword'>): Promise<void> {
    if (!(await this.bind(settings.bindDn, settings.bindPassword))) throw new DirectoryUnfit('the directory does not accept the service account');
  }

  /**
   * Simple bind.
   * @param password not empty: a bind with a name and without a password succeeds as nobody (RFC 4513, 5.1.2).
   * @returns whether the directory accepts it.
   */
  async bind(name: string, password: string): Promise<boolean> {
    if (name === '' || password === '') return false;
    try {
      await this.#client.bind(name, password);
      return true;
    } catch (error) {
      if (error instanceof ResultCodeError && REFUSALS.has(error.code)) return false;
      throw error;
    }
  }

  /** Entries below `base`. References to other servers are not followed. @param limit most entries; the server may say there are more. */
  async search(base: string, filter: string, attributes: readonly string[], options: { limit?: number; binary?: readonly string[] } = {}): Promise<Entry[]> {
    const { limit, binary = [] } = options;
    const { searchEntries } = await this.#client.search(base, {
      scope: 'sub',
      derefAliases: 'never',
      filter,
      attributes: [...attributes],
      explicitBufferAttributes: [...binary],
      ...(limit === undefined ? { paged: { pageSize: PAGE } } : { sizeLimit: limit }),
    });
    return searchEntries;
  }

  /** Whether the service account sees the entry. */
  async exists(dn: string): Promise<boolean> {
    try {
      const { searchEntries } = await this.#client.search(dn, { scope: 'base', derefAliases: 'never', filter: '(objectClass=*)', attributes: ['1.1'] });
      return searchEntries.length === 1;
    } catch (error) {
      if (error instanceof ResultCodeError && (error.code === 32 || error.code === 34)) return false;
      throw error;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** What went wrong, in plain words that repeat nothing of the directory's answer. */
export function explainDirectory(error: unknown): OutsideFailure {
  if (error instanceof DirectoryUnfit) return { message: error.message, retryable: false };
  if (error instanceof ResultCodeError) {
    const busy = error.code === 51 || error.code === 52;
    return { message: busy ? 'the directory is busy' : `the directory refused the request (LDAP result ${error.code})`, retryable: busy };
  }
  if (error instanceof Error && /^(ERR_TLS|ERR_SSL|EPROTO)/.test(codeOf(error)) && codeOf(error) !== 'ERR_TLS_CERT_ALTNAME_INVALID') return { message: 'no TLS connection could be made', retryable: false };
  // The library says so in words only.
  if (error instanceof Error && /Operation timed out|Connection timeout/.test(error.message)) return { message: 'no answer in time', retryable: true };
  if (error instanceof Error && /^Socket error|closed before message response|Connection closed|not established|disconnected before secure/.test(error.message)) return { message: 'the connection was cut', retryable: true };
  return explainFailure(error);
}

async function askForTls(bare: Socket, settings: LdapSettings): Promise<void> {
  const before = new Map(bare.eventNames().map((event) => [event, bare.rawListeners(event)]));
  try {
    await clientOn(bare, settings).exop(START_TLS);
  } catch (error) {
    if (error instanceof ResultCodeError) throw new DirectoryUnfit('the directory does not offer StartTLS');
    throw error;
  }
  // The client of the unencrypted part leaves, with what it still has in its buffer; the socket's own listeners stay.
  for (const event of bare.eventNames()) {
    for (const listener of bare.rawListeners(event)) if (before.get(event)?.includes(listener) !== true && isListener(listener)) bare.removeListener(event, listener);
  }
}

/** Node's types say no more of a listener than that it is a function. */
function isListener(listener: unknown): listener is (...values: unknown[]) => void {
  return typeof listener === 'function';
}

async function secured(bare: Socket, settings: LdapSettings): Promise<Socket> {
  const options: ConnectionOptions = {
    socket: bare,
    // The name the certificate must be for is the one in the settings, not the address it led to.
    host: settings.host,
    ...(isIP(settings.host) === 0 ? { servername: settings.host } : {}),
    ...(settings.ca === undefined ? {} : { ca: settings.ca }),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
  };
  const socket = connectTls(options);
  await opened(socket, 'secureConnect');
  return socket;
}

function clientOn(socket: Socket, settings: LdapSettings): Client {
  let given = false;
  return new Client({
    url: 'ldap://directory',
    timeout: settings.timeoutSeconds * 1000,
    connectTimeout: settings.timeoutSeconds * 1000,
    // Service accounts of Active Directory have names that are no DN.
    strictDN: false,
    createConnection: () => {
      if (given) throw new DirectoryUnfit('the directory closed the connection');
      given = true;
      return socket;
    },
  });
}

function opened(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      socket.off(event, done);
      reject(error);
    };
    const done = (): void => {
      socket.off('error', fail);
      // Later failures reach whoever waits for an answer; without a listener they would end the process.
      socket.on('error', () => undefined);
      resolve();
    };
    socket.once(event, done);
    socket.once('error', fail);
  });
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
