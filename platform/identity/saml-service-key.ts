import { webcrypto } from 'node:crypto';
// What the certificate library is built on wants it loaded first.
import 'reflect-metadata';
import { X509CertificateGenerator } from '@peculiar/x509';
import { HalError } from '../../schemas/errors.ts';
import type { SamlSettings } from '../../schemas/rest/identity-providers.ts';

const RSA = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 3072, publicExponent: new Uint8Array([1, 0, 1]) } as const;
/** Providers pin the certificate and seldom look at its dates; a short life would only make trouble. */
const YEARS = 10;

/**
 * Settings with a key of HAL9's own towards this provider: it signs requests and opens encrypted assertions. A key that was given stays.
 * @throws {HalError} `InvalidInput` when only one of key and certificate is given.
 */
export async function withServiceKey(settings: SamlSettings): Promise<SamlSettings & { serviceKey: string; serviceCertificate: string }> {
  const { serviceKey, serviceCertificate } = settings;
  if (serviceKey !== undefined && serviceCertificate !== undefined) return { ...settings, serviceKey, serviceCertificate };
  if (serviceKey !== undefined || serviceCertificate !== undefined) {
    throw new HalError('InvalidInput', 'a key needs its certificate', { errors: [{ path: `/settings/${serviceKey === undefined ? 'serviceKey' : 'serviceCertificate'}`, message: 'give both or none' }] });
  }
  return { ...settings, ...(await makeServiceKey()) };
}

async function makeServiceKey(): Promise<{ serviceKey: string; serviceCertificate: string }> {
  const keys = await webcrypto.subtle.generateKey(RSA, true, ['sign', 'verify']);
  const notBefore = new Date(Date.now() - 3_600_000);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=HAL9',
    keys,
    signingAlgorithm: RSA,
    notBefore,
    notAfter: new Date(notBefore.getTime() + YEARS * 365 * 86_400_000),
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { serviceKey: pem('PRIVATE KEY', der), serviceCertificate: certificate.toString('pem') };
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
