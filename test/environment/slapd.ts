import { existsSync } from 'node:fs';
import { access, constants, mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Attribute, Client, Control } from 'ldapts';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { debianPackage, librariesUnder } from './debian-package.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

/** An OpenLDAP server that is ready to be started: its executable with the schema files and modules that belong to it. */
export interface SlapdTool {
  readonly executable: string;
  readonly schema: string;
  readonly modules: string;
  /** Folder of shared libraries that are not on the system; empty when it needs none. */
  readonly libraries: string;
}

/**
 * OpenLDAP's slapd, in this order: HAL9_SLAPD, PATH, the cache, Debian's package unpacked into the cache. It is never installed.
 * @returns undefined when there is no way to get it; the caller says {@link SLAPD_MISSING} and, under CI, fails.
 */
export async function findSlapd(): Promise<SlapdTool | undefined> {
  const set = process.env['HAL9_SLAPD'];
  const installed = set ?? [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin'].map((folder) => join(folder, 'slapd')).find((path) => existsSync(path));
  if (installed !== undefined) return { executable: resolve(installed), schema: '/etc/ldap/schema', modules: '/usr/lib/ldap', libraries: '' };
  const root = await debianPackage('slapd');
  if (root === undefined) return undefined;
  const tool = { executable: join(root, 'usr/sbin/slapd'), schema: join(root, 'etc/ldap/schema'), modules: join(root, 'usr/lib/ldap'), libraries: (await librariesUnder(root)) ?? '' };
  await access(tool.executable, constants.X_OK);
  return tool;
}

export const SLAPD_MISSING = 'NOT RUN: sign-in by LDAP; get OpenLDAP with `apt-get install slapd`, or set HAL9_SLAPD to a slapd executable';

/** slapd says that it starts a moment before it listens. */
async function accepting(port: number): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const socket = connect(port, '127.0.0.1');
    const failure = await new Promise<Error | undefined>((resolve) => {
      socket.once('connect', () => resolve(undefined));
      socket.once('error', resolve);
    });
    socket.destroy();
    if (failure === undefined) return;
    if (attempt === 200) throw failure;
    await sleep(25);
  }
}

/** What sign-in reads of Active Directory, with its names, numbers and ways to compare ([MS-ADA1] to [MS-ADA3], [MS-ADSC]). */
const ACTIVE_DIRECTORY = [
  "attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )",
  "attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )",
  "attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )",
  "attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )",
  "objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP inetOrgPerson STRUCTURAL MAY ( sAMAccountName $ userPrincipalName $ userAccountControl $ objectGUID ) )",
  "objectclass ( 1.2.840.113556.1.3.30 NAME 'computer' SUP user STRUCTURAL )",
];

export interface SlapdOptions {
  readonly folder: string;
  /** PEM files of the server's certificate; without them there is no TLS. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** With Active Directory's attributes and classes beside the usual ones. */
  readonly activeDirectory?: boolean;
}

export interface Slapd {
  readonly port: number;
  /** LDAPS. */
  readonly tlsPort: number;
  readonly adminDn: string;
  readonly adminPassword: string;
  /** What it wrote about connections and operations so far. */
  log(): string;
  add(dn: string, attributes: Record<string, string | string[] | Buffer>): Promise<void>;
  remove(dn: string): Promise<void>;
  stop(): Promise<void>;
}

/** ManageDsaIT (RFC 3296): a reference to another server is added as an entry, not followed. */
const MANAGE_REFERRALS = new Control('2.16.840.1.113730.3.4.2');

export const SUFFIX = 'dc=example,dc=com';

/** A real OpenLDAP server on loopback with an empty directory under {@link SUFFIX}. */
export async function startSlapd(tool: SlapdTool, options: SlapdOptions): Promise<Slapd> {
  const { folder } = options;
  const [port, tlsPort] = [await freePort(), await freePort()];
  const adminDn = `cn=admin,${SUFFIX}`;
  const adminPassword = 'directory-admin';
  const data = join(folder, 'data');
  await mkdir(data, { recursive: true });
  const lines = [
    ...['core', 'cosine', 'inetorgperson'].map((name) => `include ${join(tool.schema, `${name}.schema`)}`),
    ...(options.activeDirectory === true ? ACTIVE_DIRECTORY : []),
    `modulepath ${tool.modules}`,
    'moduleload back_mdb',
    `pidfile ${join(folder, 'slapd.pid')}`,
    `argsfile ${join(folder, 'slapd.args')}`,
    // As RFC 4513 5.1.2 recommends against; the tests show that HAL9 does not rely on the server here.
    'allow bind_anon_dn bind_anon_cred',
    ...(options.tls === undefined ? [] : [`TLSCACertificateFile ${options.tls.ca}`, `TLSCertificateFile ${options.tls.cert}`, `TLSCertificateKeyFile ${options.tls.key}`]),
    'database mdb',
    `suffix "${SUFFIX}"`,
    `rootdn "${adminDn}"`,
    `rootpw ${adminPassword}`,
    `directory ${data}`,
    'access to attrs=userPassword by anonymous auth by * none',
    'access to * by users read by * none',
  ];
  const file = join(folder, 'slapd.conf');
  await writeFile(file, `${lines.join('\n')}\n`);
  const urls = [`ldap://127.0.0.1:${port}`, ...(options.tls === undefined ? [] : [`ldaps://127.0.0.1:${tlsPort}`])];
  const child = spawnOwned(tool.executable, ['-d', '256', '-f', file, '-h', urls.join(' ')], { deathSignal: 'KILL', env: { ...process.env, ...(tool.libraries === '' ? {} : { LD_LIBRARY_PATH: tool.libraries }) } });
  let log = '';
  await new Promise<void>((ready, fail) => {
    const collect = (chunk: Buffer): void => {
      log += chunk.toString();
      if (log.includes('slapd starting')) ready();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.once('error', fail);
    child.once('exit', () => fail(new Error(`slapd ended:\n${log}`)));
  });
  await accepting(port);
  const administrate = async (work: (client: Client) => Promise<void>): Promise<void> => {
    const client = new Client({ url: `ldap://127.0.0.1:${port}`, timeout: 10_000, connectTimeout: 10_000 });
    try {
      await client.bind(adminDn, adminPassword);
      await work(client);
    } finally {
      await client.unbind();
    }
  };
  const slapd: Slapd = {
    port,
    tlsPort,
    adminDn,
    adminPassword,
    log: () => log,
    add: (dn, attributes) => administrate((client) => client.add(dn, Object.entries(attributes).map(([type, value]) => new Attribute({ type, values: Buffer.isBuffer(value) ? [value] : [value].flat() })), MANAGE_REFERRALS)),
    remove: (dn) => administrate((client) => client.del(dn, MANAGE_REFERRALS)),
    stop: () => endProcess(child, 'SIGTERM', 5000),
  };
  await slapd.add(SUFFIX, { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' });
  for (const unit of ['people', 'groups', 'services']) await slapd.add(`ou=${unit},${SUFFIX}`, { objectClass: 'organizationalUnit', ou: unit });
  return slapd;
}
