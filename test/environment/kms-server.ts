import { createHmac, createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SigningKey, computeAddress, hexlify } from 'ethers';

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** A server that speaks the protocol of AWS's Key Management Service (JSON 1.1, `TrentService`) for three operations, with keys of its own. AWS itself is never called. */
export interface KmsServer {
  readonly url: string;
  /** Makes a key for signing. @returns its address on EVM chains. */
  signing(id: string): string;
  /** Makes a key of another curve. */
  otherCurve(id: string): void;
  /** Makes a key for HMAC. */
  mac(id: string): void;
  /** Lets an id mean another key, as moving an alias does. */
  move(id: string, to: string): void;
  /** Operations that were asked for, in order. */
  readonly asked: string[];
  close(): Promise<void>;
}

interface Kept {
  readonly publicKey?: KeyObject;
  readonly signing?: SigningKey;
  readonly mac?: KeyObject;
}

export async function startKmsServer(): Promise<KmsServer> {
  const keys = new Map<string, Kept>();
  const asked: string[] = [];
  let signatures = 0;
  const answer = (operation: string, { KeyId = '', Message = '', MessageType }: Record<string, string>): [number, unknown] => {
    const key = keys.get(KeyId);
    if (key === undefined) return [400, { __type: 'NotFoundException', message: `Key '${KeyId}' of account 111122223333 does not exist` }];
    if (operation === 'GetPublicKey' && key.publicKey !== undefined) return [200, { KeyId, KeyUsage: 'SIGN_VERIFY', PublicKey: key.publicKey.export({ format: 'der', type: 'spki' }).toString('base64') }];
    if (operation === 'Sign' && key.signing !== undefined && MessageType === 'DIGEST') {
      const { r, s } = key.signing.sign(hexlify(Buffer.from(Message, 'base64')));
      signatures += 1;
      // The service gives the higher value of s as often as the lower one.
      return [200, { KeyId, SigningAlgorithm: 'ECDSA_SHA_256', Signature: derOf(BigInt(r), signatures % 2 === 0 ? BigInt(s) : ORDER - BigInt(s)).toString('base64') }];
    }
    if (operation === 'GenerateMac' && key.mac !== undefined) return [200, { KeyId, MacAlgorithm: 'HMAC_SHA_256', Mac: createHmac('sha256', key.mac).update(Buffer.from(Message, 'base64')).digest('base64') }];
    return [400, { __type: 'InvalidKeyUsageException', message: 'not with this key' }];
  };
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const operation = String(request.headers['x-amz-target']).replace('TrentService.', '');
      asked.push(operation);
      const signed = /^AWS4-HMAC-SHA256 Credential=[^/]+\/\d{8}\/[^/]+\/kms\/aws4_request/.test(request.headers.authorization ?? '');
      const [status, content] = signed ? answer(operation, JSON.parse(body) as Record<string, string>) : [400, { __type: 'MissingAuthenticationTokenException' }];
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(content));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    asked,
    signing(id) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
      const signing = new SigningKey(hexlify(Buffer.from(String(privateKey.export({ format: 'jwk' }).d), 'base64url')));
      keys.set(id, { publicKey, signing });
      return computeAddress(signing.publicKey);
    },
    otherCurve: (id) => void keys.set(id, { publicKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey }),
    mac: (id) => void keys.set(id, { mac: createSecretKey(Buffer.alloc(32, id)) }),
    move: (id, to) => void keys.set(id, keys.get(to) ?? {}),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

function derOf(...integers: readonly bigint[]): Buffer {
  const encoded = integers.map((integer) => {
    const bytes = Buffer.from(integer.toString(16).padStart(64, '0').replace(/^(00)+/, ''), 'hex');
    const positive = (bytes[0] ?? 0) > 127 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes;
    return Buffer.concat([Buffer.from([0x02, positive.length]), positive]);
  });
  const content = Buffer.concat(encoded);
  return Buffer.concat([Buffer.from([0x30, content.length]), content]);
}
