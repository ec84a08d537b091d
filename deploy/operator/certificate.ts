import { webcrypto, X509Certificate } from 'node:crypto';
// What the certificate library is built on wants it loaded first.
import 'reflect-metadata';
import { BasicConstraintsExtension, SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';
import { z } from 'zod';
import { KubernetesError, type Kubernetes } from './kubernetes.ts';
import { pathOf } from './objects.ts';

const SECRETS = { apiVersion: 'v1', plural: 'secrets' } as const;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const LIFE_MS = 365 * 86_400_000;
/** A certificate with less left is replaced, milliseconds. */
const RENEW_MS = 60 * 86_400_000;

const secretSchema = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }), data: z.object({ 'tls.crt': z.string(), 'tls.key': z.string(), 'ca.crt': z.string() }) });

export interface ServingCertificate {
  readonly cert: string;
  readonly key: string;
  /** PEM of what clients trust: this certificate, and the one before it while operators with that still run. */
  readonly authority: string;
}

/**
 * The certificate of the webhook, which is its own authority, kept in a Secret that all operators of an installation share. Made by the first
 * one and again two months before it ends, or when it is for other hosts.
 */
export async function servingCertificate(api: Kubernetes, options: { readonly namespace: string; readonly name: string; readonly hosts: readonly string[]; readonly now?: number }): Promise<ServingCertificate> {
  const { namespace, name, hosts, now = Date.now() } = options;
  const path = pathOf(SECRETS, namespace, name);
  const found = await api.find<unknown>(path);
  const secret = found === undefined ? undefined : secretSchema.parse(found);
  const known = secret === undefined ? undefined : { cert: plain(secret.data['tls.crt']), key: plain(secret.data['tls.key']), authority: plain(secret.data['ca.crt']) };
  if (known !== undefined && isGood(known.cert, hosts, now)) return known;
  const made = await makeCertificate(hosts, now);
  const authority = known === undefined ? made.cert : `${made.cert}${known.cert}`;
  const data = { 'tls.crt': sealed(made.cert), 'tls.key': sealed(made.key), 'ca.crt': sealed(authority) };
  try {
    const object = { apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata: { name, ...(secret === undefined ? {} : { resourceVersion: secret.metadata.resourceVersion }) }, data };
    await (secret === undefined ? api.create(pathOf(SECRETS, namespace), object) : api.replace(path, object));
  } catch (error) {
    // Another operator was quicker: theirs is as good.
    if (error instanceof KubernetesError && error.status === 409) return servingCertificate(api, options);
    throw error;
  }
  return { ...made, authority };
}

function isGood(pem: string, hosts: readonly string[], now: number): boolean {
  const certificate = new X509Certificate(pem);
  const covers = (host: string): boolean => (/^[\d.]+$|:/.test(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined;
  return certificate.validToDate.getTime() - now > RENEW_MS && hosts.every(covers);
}

async function makeCertificate(hosts: readonly string[], now: number): Promise<{ cert: string; key: string }> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const names = hosts.map((host) => ({ type: /^[\d.]+$|:/.test(host) ? ('ip' as const) : ('dns' as const), value: host }));
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=hal9-operator',
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + LIFE_MS),
    extensions: [new BasicConstraintsExtension(true, 0, true), new SubjectAlternativeNameExtension(names)],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return { cert: `${certificate.toString('pem').trimEnd()}\n`, key: `-----BEGIN PRIVATE KEY-----\n${(der.match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n` };
}

function plain(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

function sealed(text: string): string {
  return Buffer.from(text).toString('base64');
}
