import { randomUUID } from 'node:crypto';
import { Filter, type Entry } from 'ldapts';
import { HalError } from '../../schemas/errors.ts';
import type { LdapSettings } from '../../schemas/rest/identity-providers.ts';
import type { Egress } from '../connections/egress.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import type { OpenProvider } from './identity-providers.ts';
import { DirectoryUnfit, explainDirectory, LdapConnection } from './ldap-connection.ts';
import type { ExternalIdentity } from './sign-in-contract.ts';

/** Active Directory walks nested groups itself ([MS-ADTS] 3.1.1.3.4.4.3, LDAP_MATCHING_RULE_TRANSITIVE_EVAL). */
const IN_CHAIN = '1.2.840.113556.1.4.1941';
/** Bit of Active Directory's userAccountControl: the account is disabled ([MS-ADTS] 2.2.16). */
const ACCOUNT_DISABLED = 0x2;
/** Levels of nesting that are followed. */
const DEEPEST = 10;
/** Most groups of one person that are looked at. */
const MOST_GROUPS = 2000;
/** Distinguished names in one filter. */
const BUNDLE = 50;
const LONGEST_NAME = 256;
const LONGEST_PASSWORD = 1024;
/** Attributes of 16 bytes that are shown as GUID. */
const BINARY = ['objectguid'];

/** Asks a directory whether a name and password are right: search, then bind (RFC 4513, 5.1.3). */
export class LdapDirectory {
  readonly #egress: Egress;

  constructor(egress: Egress) {
    this.#egress = egress;
  }

  /**
   * @param provider as opened by `IdentityProviders.open`.
   * @returns undefined when the directory does not accept the name with the password; callers must not tell which is wrong.
   * @throws {HalError} `ExternalCallFailed` when the directory cannot be asked.
   */
  async authenticate(provider: OpenProvider<LdapSettings>, userName: string, password: string): Promise<ExternalIdentity | undefined> {
    // A bind with a name and an empty password succeeds as nobody: no password, no question.
    if (userName.trim() === '' || userName.length > LONGEST_NAME || password === '' || password.length > LONGEST_PASSWORD) return undefined;
    try {
      return await this.#converse(provider.settings, AbortSignal.timeout(provider.settings.timeoutSeconds * 3000), (connection) => authenticate(connection, provider, userName.trim(), password));
    } catch (error) {
      const failure = explainDirectory(error);
      throw new HalError('ExternalCallFailed', `the directory could not be asked: ${failure.message}`, { cause: error, ...(failure.retryable ? { retryAfterSeconds: 5 } : {}) });
    }
  }

  /** Whether the service account can bind and sees people and groups. @returns what is wrong, in plain words. */
  async check(settings: LdapSettings, signal: AbortSignal): Promise<OutsideFailure | undefined> {
    try {
      return await this.#converse(settings, AbortSignal.any([signal, AbortSignal.timeout(settings.timeoutSeconds * 3000)]), async (connection) => {
        await connection.bindService(settings);
        if (!(await connection.exists(settings.userBase))) throw new DirectoryUnfit('the service account sees nothing at the user base');
        if (settings.groups.by !== 'none' && !(await connection.exists(settings.groups.base))) throw new DirectoryUnfit('the service account sees nothing at the group base');
        // Nobody has this name; the directory says whether it understands the filter.
        await connection.search(settings.userBase, filled(settings.userFilter, { userName: randomUUID() }), ['1.1'], { limit: 1 });
        return undefined;
      });
    } catch (error) {
      return explainDirectory(error);
    }
  }

  async #converse<T>(settings: LdapSettings, signal: AbortSignal, work: (connection: LdapConnection) => Promise<T>): Promise<T> {
    const connection = await LdapConnection.open(this.#egress, settings, signal);
    try {
      return await work(connection);
    } catch (error) {
      // A conversation that was cut off for its time says so, not how the socket died of it.
      signal.throwIfAborted();
      throw error;
    } finally {
      connection.close();
    }
  }
}

async function authenticate(connection: LdapConnection, provider: OpenProvider<LdapSettings>, userName: string, password: string): Promise<ExternalIdentity | undefined> {
  const { settings } = provider;
  await connection.bindService(settings);
  const { id, email, displayName, userName: nameAttribute } = settings.attributes;
  const found = await connection.search(settings.userBase, filled(settings.userFilter, { userName }), [id, nameAttribute, email, displayName, 'userAccountControl'], { limit: 2, binary: [id].filter(isBinary) });
  const [entry] = found;
  if (entry === undefined || found.length > 1) {
    // As many questions as for somebody who is there, so that the time says nothing.
    await connection.bind(`cn=${randomUUID()},${settings.userBase}`, password);
    return undefined;
  }
  if (!(await connection.bind(entry.dn, password))) return undefined;
  if ((Number(textOf(entry, 'userAccountControl') ?? 0) & ACCOUNT_DISABLED) !== 0) return undefined;
  const subject = subjectOf(entry, id);
  if (subject === undefined) throw new DirectoryUnfit(`the entry has no ${id}`);
  await connection.bindService(settings);
  return {
    orgId: provider.orgId,
    providerId: provider.id,
    subject,
    userName: textOf(entry, nameAttribute) ?? userName,
    email: textOf(entry, email),
    userNameProven: true,
    emailVerified: settings.trustsEmail && textOf(entry, email) !== undefined,
    displayName: textOf(entry, displayName),
    groups: await groupsOf(connection, settings, entry.dn),
    secondFactor: false,
    logout: undefined,
  };
}

async function groupsOf(connection: LdapConnection, { groups }: LdapSettings, person: string): Promise<string[]> {
  switch (groups.by) {
    case 'none':
      return [];
    case 'chain':
      return namesOf(await connection.search(groups.base, `(member:${IN_CHAIN}:=${Filter.escape(person)})`, [groups.name]), groups.name);
    case 'search': {
      const seen = new Map<string, Entry>();
      let level = [person];
      for (let depth = 0; level.length > 0 && depth < (groups.nested ? DEEPEST : 1) && seen.size < MOST_GROUPS; depth += 1) {
        const next: string[] = [];
        for (let start = 0; start < level.length; start += BUNDLE) {
          const filter = `(|${level.slice(start, start + BUNDLE).map((dn) => filled(groups.filter, { dn })).join('')})`;
          for (const entry of await connection.search(groups.base, filter, [groups.name])) {
            const key = entry.dn.toLowerCase();
            if (seen.has(key)) continue;
            seen.set(key, entry);
            next.push(entry.dn);
          }
        }
        level = next;
      }
      return namesOf([...seen.values()], groups.name);
    }
  }
}

/** Puts values into a filter, escaped (RFC 4515, 3): what was typed stays a value whatever it holds. */
export function filled(template: string, values: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (placeholder, name: string) => (Object.hasOwn(values, name) ? Filter.escape(values[name] ?? '') : placeholder));
}

function namesOf(entries: readonly Entry[], attribute: string): string[] {
  return [...new Set(entries.flatMap((entry) => valuesOf(entry, attribute)).filter((value) => typeof value === 'string'))];
}

function textOf(entry: Entry, attribute: string): string | undefined {
  return valuesOf(entry, attribute).find((value): value is string => typeof value === 'string' && value !== '');
}

/** Names of attributes are compared without case (RFC 4512, 2.5). */
function valuesOf(entry: Entry, attribute: string): (string | Buffer)[] {
  const value = Object.entries(entry).find(([name]) => name.toLowerCase() === attribute.toLowerCase())?.[1];
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function isBinary(attribute: string): boolean {
  return BINARY.includes(attribute.toLowerCase());
}

function subjectOf(entry: Entry, attribute: string): string | undefined {
  const [value] = valuesOf(entry, attribute);
  if (Buffer.isBuffer(value)) return value.length === 16 ? guidOf(value) : value.length > 0 ? value.toString('hex') : undefined;
  return value === '' ? undefined : value;
}

/** The text form of an objectGUID: its first three fields are little-endian ([MS-DTYP] 2.3.4.2). */
export function guidOf(bytes: Buffer): string {
  const hex = Buffer.concat([Buffer.from(bytes.subarray(0, 4)).reverse(), Buffer.from(bytes.subarray(4, 6)).reverse(), Buffer.from(bytes.subarray(6, 8)).reverse(), bytes.subarray(8)]).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
