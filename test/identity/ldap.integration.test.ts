import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Egress } from '../../platform/connections/egress.ts';
import type { OpenProvider } from '../../platform/identity/identity-providers.ts';
import { LdapDirectory } from '../../platform/identity/ldap-directory.ts';
import { expand } from '../../platform/identity/presets.ts';
import { ldapSettings, type LdapSettings } from '../../schemas/rest/identity-providers.ts';
import { makeCertificates, type Certificates } from '../environment/certificates.ts';
import { findSlapd, SLAPD_MISSING, startSlapd, SUFFIX, type Slapd } from '../environment/slapd.ts';

const tool = await findSlapd();
if (tool === undefined) console.log(SLAPD_MISSING);

it.runIf(tool === undefined && process.env['CI'] !== undefined)('has OpenLDAP under CI', () => {
  expect.fail(SLAPD_MISSING);
});

const PEOPLE = `ou=people,${SUFFIX}`;
const GROUPS = `ou=groups,${SUFFIX}`;
const SERVICE = `cn=hal9,ou=services,${SUFFIX}`;
const SERVICE_PASSWORD = 'service-password';

describe.skipIf(tool === undefined)('sign-in by LDAP', () => {
  let folder = '';
  let certificates: Certificates;
  let slapd: Slapd;
  let bare: Slapd;
  let ca = '';
  const egress = new Egress({ allowPrivate: true });
  const ldap = new LdapDirectory(egress);
  const servers: Server[] = [];

  beforeAll(async () => {
    if (tool === undefined) throw new Error(SLAPD_MISSING);
    folder = await mkdtemp(join(tmpdir(), 'hal9-ldap-'));
    certificates = makeCertificates(folder);
    ca = await readFile(certificates.ca, 'utf8');
    slapd = await startSlapd(tool, { folder: join(folder, 'main'), tls: { ca: certificates.ca, ...certificates.server }, activeDirectory: true });
    bare = await startSlapd(tool, { folder: join(folder, 'bare') });
    for (const directory of [slapd, bare]) await directory.add(SERVICE, { objectClass: ['applicationProcess', 'simpleSecurityObject'], cn: 'hal9', userPassword: SERVICE_PASSWORD });
    const person = (uid: string, more: Record<string, string | string[]> = {}) =>
      slapd.add(`cn=${uid.replaceAll(/[\\,()*=+]/g, '')},${PEOPLE}`, { objectClass: 'inetOrgPerson', cn: `${uid} Example`, sn: 'Example', uid, mail: `${uid}@example.com`, userPassword: `${uid}-password`, ...more });
    await person('alice');
    await person('bob');
    await person(String.raw`(a*b)\c=d`, { mail: 'odd@example.com' });
    await slapd.add(`cn=twin one,${PEOPLE}`, { objectClass: 'inetOrgPerson', cn: 'twin one', sn: 'x', uid: 'twin', userPassword: 'twin-password' });
    await slapd.add(`cn=twin two,${PEOPLE}`, { objectClass: 'inetOrgPerson', cn: 'twin two', sn: 'x', uid: 'twin', userPassword: 'twin-password' });
    const group = (name: string, ...members: string[]) => slapd.add(`cn=${name},${GROUPS}`, { objectClass: 'groupOfNames', cn: name, member: members });
    await group('ops', `cn=alice,${PEOPLE}`);
    // Groups in groups, in a circle.
    await group('engineering', `cn=ops,${GROUPS}`, `cn=everybody,${GROUPS}`);
    await group('everybody', `cn=engineering,${GROUPS}`);
    await group('others', `cn=bob,${PEOPLE}`);
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  });
  afterAll(async () => {
    await slapd.stop();
    await bare.stop();
    await egress.close();
    await rm(folder, { recursive: true, force: true });
  });

  const settings = (more: Record<string, unknown> = {}): LdapSettings =>
    ldapSettings.parse({
      kind: 'ldap',
      host: '127.0.0.1',
      port: slapd.port,
      tls: 'starttls',
      ca,
      bindDn: SERVICE,
      bindPassword: SERVICE_PASSWORD,
      userBase: PEOPLE,
      groups: { by: 'search', base: GROUPS },
      timeoutSeconds: 5,
      ...more,
    });
  const provider = (chosen: LdapSettings): OpenProvider<LdapSettings> => ({
    orgId: randomUUID(),
    id: randomUUID(),
    name: 'directory',
    preset: null,
    version: 1,
    enabled: true,
    provisions: true,
    roleMapping: { default: [], groups: {} },
    settings: chosen,
  });
  const signIn = (userName: string, password: string, more: Record<string, unknown> = {}) => ldap.authenticate(provider(settings(more)), userName, password);
  const check = (more: Record<string, unknown> = {}) => ldap.check(settings(more), AbortSignal.timeout(30_000));
  /** A server that answers as `answer` says; it keeps what it received. */
  const listen = async (answer: (socket: Socket) => void): Promise<{ port: number; connections: Buffer[] }> => {
    const connections: Buffer[] = [];
    const server = createServer((socket) => {
      const index = connections.push(Buffer.alloc(0)) - 1;
      socket.on('data', (chunk: Buffer) => (connections[index] = Buffer.concat([connections[index] ?? Buffer.alloc(0), chunk])));
      socket.on('error', () => undefined);
      answer(socket);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { port: (server.address() as AddressInfo).port, connections };
  };

  describe('who signs in', () => {
    it('is known by an id that never changes, with address, name and nested groups', async () => {
      const identity = await signIn('alice', 'alice-password');
      expect(identity).toMatchObject({ userName: 'alice', email: 'alice@example.com', emailVerified: false, displayName: 'alice Example', secondFactor: false });
      expect(identity?.subject).toMatch(/^[0-9a-f-]{36}$/);
      expect([...(identity?.groups ?? [])].sort()).toEqual(['engineering', 'everybody', 'ops']);
      expect((await signIn('ALICE', 'alice-password'))?.subject).toBe(identity?.subject);
      expect((await signIn('alice', 'alice-password', { groups: { by: 'search', base: GROUPS, nested: false } }))?.groups).toEqual(['ops']);
      expect((await signIn('alice', 'alice-password', { groups: { by: 'none' } }))?.groups).toEqual([]);
      expect((await signIn('alice', 'alice-password', { trustsEmail: true }))?.emailVerified).toBe(true);
    });

    it('may have a name that looks like a filter', async () => {
      expect(await signIn(String.raw`(a*b)\c=d`, String.raw`(a*b)\c=d-password`)).toMatchObject({ email: 'odd@example.com' });
    });

    it('is nobody without the right name and password', async () => {
      expect(await signIn('alice', 'bob-password')).toBeUndefined();
      expect(await signIn('nobody', 'alice-password')).toBeUndefined();
      expect(await signIn('twin', 'twin-password')).toBeUndefined();
      expect(await signIn('a'.repeat(257), 'alice-password')).toBeUndefined();
      expect(await signIn('alice', 'x'.repeat(1025))).toBeUndefined();
    });

    it('asks the directory as often for somebody unknown as for a wrong password', async () => {
      // Another process writes the log, in its own time: what earlier tests did is in it once the last bind for a name of its own is.
      const caughtUp = async (): Promise<number> => {
        const name = randomUUID();
        await signIn(name, 'wrong');
        await expect.poll(() => / BIND dn=.* method=128/.test(slapd.log().split(name)[1] ?? '')).toBe(true);
        return slapd.log().length;
      };
      const twoBinds = async (name: string): Promise<void> => {
        const before = await caughtUp();
        await signIn(name, 'wrong');
        await expect.poll(() => slapd.log().slice(before).match(/ BIND dn=.* method=128/g)?.length).toBe(2);
      };
      await twoBinds('alice');
      await twoBinds('nobody');
    });

    it('is nobody with an empty password, which this server takes for a bind as nobody', async () => {
      const before = slapd.log();
      for (const password of ['']) for (const name of ['alice', '']) expect(await signIn(name, password)).toBeUndefined();
      expect(await signIn('   ', 'alice-password')).toBeUndefined();
      expect(slapd.log()).toBe(before);
    });

    it.each(['*', 'a*', '*)(uid=*', 'alice)(cn=*', '*)(|(uid=*', 'nobody)(|(uid=alice', String.raw`\2a`, String.raw`alice\00`, 'alice\0', 'alice))(|(cn=*', '(uid=alice)', 'alice)(userPassword=*'])('cannot write filters: %j', async (name) => {
      expect(await signIn(name, 'alice-password')).toBeUndefined();
      // The filter found nobody: what was typed was compared as it was typed.
      expect(slapd.log().trimEnd().split('\n').filter((line) => /SEARCH RESULT/.test(line)).at(-1)).toContain('nentries=0');
    });
  });

  describe('encryption', () => {
    it('works by StartTLS and by LDAPS with the directory\'s own authority', async () => {
      expect(await check()).toBeUndefined();
      expect(await check({ tls: 'implicit', port: slapd.tlsPort })).toBeUndefined();
      expect(await signIn('bob', 'bob-password', { tls: 'implicit', port: slapd.tlsPort })).toMatchObject({ groups: ['others'] });
      expect(await check({ tls: 'none' })).toBeUndefined();
    });

    it('refuses certificates of others and for others', async () => {
      const other = await readFile(certificates.otherCa, 'utf8');
      for (const how of [{}, { tls: 'implicit', port: slapd.tlsPort }]) {
        expect(await check({ ...how, ca: other })).toMatchObject({ message: 'the certificate of the host is not trusted', retryable: false });
        expect(await check({ ...how, ca: undefined })).toMatchObject({ retryable: false });
        expect(await check({ ...how, host: 'localhost' })).toMatchObject({ message: 'the certificate is not for this host' });
      }
    });

    it('says nothing secret to a directory that has no StartTLS', async () => {
      expect(await check({ port: bare.port })).toEqual({ message: 'the directory does not offer StartTLS', retryable: false });
      expect(bare.log()).not.toContain(`BIND dn="${SERVICE}"`);
    });

    it('does not go on unencrypted when the connection breaks after StartTLS', async () => {
      const server = await listen((socket) => socket.once('data', (request: Buffer) => socket.write(startedTls(request), () => socket.once('data', () => socket.destroy()))));
      expect(await check({ port: server.port })).toMatchObject({ retryable: true });
      expect(server.connections).toHaveLength(1);
      expect(server.connections[0]?.includes(SERVICE_PASSWORD)).toBe(false);
    });

    it('forgets what somebody in between said before the encryption', async () => {
      // Hands everything on, and slips a forged "bind succeeded" behind the answer to StartTLS.
      const between = await listen((socket) => {
        let first = true;
        forward(socket, slapd.port, (chunk) => {
          const answer = first ? Buffer.concat([chunk, FORGED_BINDS]) : chunk;
          first = false;
          return answer;
        });
      });
      expect(await signIn('alice', 'wrong', { port: between.port })).toBeUndefined();
      expect(await signIn('alice', 'alice-password', { port: between.port })).toMatchObject({ userName: 'alice' });
    });
  });

  describe('a directory in trouble', () => {
    it.each([['says nothing', () => undefined], ['says nothing after StartTLS', (socket: Socket) => void socket.once('data', (request: Buffer) => socket.write(startedTls(request)))]])('that %s is given up', async (_, answer) => {
      const server = await listen(answer);
      expect(await check({ port: server.port, timeoutSeconds: 1 })).toEqual({ message: 'no answer in time', retryable: true });
      await expect(signIn('alice', 'alice-password', { port: server.port, timeoutSeconds: 1 })).rejects.toMatchObject({ type: 'ExternalCallFailed', message: 'the directory could not be asked: no answer in time', retryAfterSeconds: 5 });
    });

    it('is named in plain words', async () => {
      const closed = await listen((socket) => socket.destroy());
      expect(await check({ port: closed.port })).toMatchObject({ retryable: true });
      expect(await check({ port: 1 })).toEqual({ message: 'the connection was refused', retryable: true });
      expect(await check({ bindPassword: 'wrong' })).toEqual({ message: 'the directory does not accept the service account', retryable: false });
      expect(await check({ userBase: `ou=nowhere,${SUFFIX}` })).toEqual({ message: 'the service account sees nothing at the user base', retryable: false });
      expect(await check({ groups: { by: 'search', base: 'not a name' } })).toEqual({ message: 'the service account sees nothing at the group base', retryable: false });
      await expect(signIn('alice', 'alice-password', { bindPassword: 'wrong' })).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    });

    it('never leads to another one', async () => {
      const elsewhere = await listen(() => undefined);
      const dn = `cn=elsewhere,${PEOPLE}`;
      await slapd.add(dn, { objectClass: ['referral', 'extensibleObject'], cn: 'elsewhere', ref: `ldap://127.0.0.1:${elsewhere.port}/${PEOPLE}` });
      try {
        expect(await signIn('alice', 'alice-password')).toMatchObject({ userName: 'alice' });
        expect(await signIn('nobody', 'alice-password')).toBeUndefined();
        expect(elsewhere.connections).toHaveLength(0);
      } finally {
        await slapd.remove(dn);
      }
    });

    it('is not reached at private addresses unless the installation allows it', async () => {
      const strict = new Egress({ allowPrivate: false });
      expect(await new LdapDirectory(strict).check(settings(), AbortSignal.timeout(10_000))).toMatchObject({ message: expect.stringContaining('private'), retryable: false });
      await strict.close();
    });
  });

  describe('Active Directory', () => {
    const GUID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    const directory = () => {
      const { settings: expanded } = expand({ kind: 'active-directory', host: '127.0.0.1', port: slapd.port, tls: 'starttls', ca, bindDn: SERVICE, bindPassword: SERVICE_PASSWORD, base: SUFFIX, groupBase: GROUPS });
      if (expanded.kind !== 'ldap') throw new Error('the preset makes LDAP settings');
      return provider(expanded);
    };

    beforeAll(async () => {
      const account = (name: string, userAccountControl: number, guid: Buffer, objectClass = 'user') =>
        slapd.add(`cn=${name},${PEOPLE}`, {
          objectClass,
          cn: name,
          sn: 'Example',
          displayName: `${name} Example`,
          sAMAccountName: name,
          userPrincipalName: `${name}@corp.example.com`,
          mail: `${name}@example.com`,
          userAccountControl: String(userAccountControl),
          objectGUID: guid,
          userPassword: `${name}-password`,
        });
      await account('carol', 0x200, GUID);
      await account('dave', 0x202, Buffer.alloc(16, 1));
      await account('printer$', 0x1000, Buffer.alloc(16, 2), 'computer');
    });

    it('knows people by objectGUID and takes either name', async () => {
      const carol = { subject: '33221100-5544-7766-8899-aabbccddeeff', userName: 'carol', email: 'carol@example.com', displayName: 'carol Example' };
      expect(await ldap.authenticate(directory(), 'carol', 'carol-password')).toMatchObject(carol);
      expect(await ldap.authenticate(directory(), 'carol@corp.example.com', 'carol-password')).toMatchObject(carol);
    });

    it('lets nobody in whose account is disabled, and no computer', async () => {
      expect(await ldap.authenticate(directory(), 'printer$', 'printer$-password')).toBeUndefined();
      expect(await ldap.authenticate(directory(), 'dave', 'dave-password')).toBeUndefined();
    });

    it('is asked to walk nested groups itself', async () => {
      // OpenLDAP does not know the rule and finds nothing; what is sent is what Active Directory documents.
      const between = await listen((socket) => forward(socket, slapd.port, (chunk) => chunk));
      const { settings: over, ...rest } = directory();
      expect(await ldap.authenticate({ ...rest, settings: { ...over, tls: 'none', port: between.port } }, 'carol', 'carol-password')).toMatchObject({ groups: [] });
      const octets = (tag: number, text: string): Buffer => Buffer.concat([Buffer.from([tag, text.length]), Buffer.from(text)]);
      // extensibleMatch of RFC 4511, 4.5.1.7.7: matchingRule, type, matchValue.
      expect(between.connections[0]?.includes(Buffer.concat([octets(0x81, '1.2.840.113556.1.4.1941'), octets(0x82, 'member'), octets(0x83, `cn=carol,${PEOPLE}`)]))).toBe(true);
    });
  });
});

/** Hands on what both sides say; `change` sees what the server answers. */
function forward(socket: Socket, port: number, change: (chunk: Buffer) => Buffer): void {
  const upstream = connect(port, '127.0.0.1');
  upstream.on('error', () => undefined);
  upstream.on('data', (chunk: Buffer) => socket.write(change(chunk)));
  socket.on('data', (chunk: Buffer) => upstream.write(chunk));
  socket.once('close', () => upstream.destroy());
  upstream.once('close', () => socket.destroy());
}

/** ExtendedResponse, success (RFC 4511, 4.12), to a request whose message id is one octet. */
function startedTls(request: Buffer): Buffer {
  return Buffer.concat([Buffer.from('300c0201', 'hex'), request.subarray(4, 5), Buffer.from('78070a010004000400', 'hex')]);
}

/** BindResponse, success, for the next message ids, and the beginning of one that would swallow what follows. */
const FORGED_BINDS = Buffer.concat([...[1, 2, 3, 4, 5, 6].map((id) => Buffer.from(`300c0201${id.toString(16).padStart(2, '0')}61070a010004000400`, 'hex')), Buffer.from('3081f002010361070a010004000400a081e0', 'hex')]);
