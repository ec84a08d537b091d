import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProgram } from '../../cli/main.ts';

interface Sent {
  readonly request: string;
  readonly type: string | undefined;
  readonly body: Buffer;
}

describe('the body that hal9 sends', () => {
  const sent: Sent[] = [];
  let server: Server;
  let folder: string;
  let address: readonly string[];
  beforeAll(async () => {
    server = createServer((request, response) => {
      void (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
        sent.push({ request: `${request.method ?? ''} ${request.url ?? ''}`, type: request.headers['content-type'], body: Buffer.concat(chunks) });
        response.writeHead(201, { 'content-type': 'application/json' }).end('{}');
      })();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    folder = await mkdtemp(join(tmpdir(), 'hal9-bodies-'));
    address = ['--url', `http://127.0.0.1:${(server.address() as AddressInfo).port}`, '--json'];
  });
  afterAll(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const hal9 = async (...args: readonly string[]): Promise<Sent | undefined> => {
    await createProgram().parseAsync([...args, ...address], { from: 'user' });
    return sent.pop();
  };

  it('is a file as it is where the API takes any, under the type it is said to have', async () => {
    const file = join(folder, 'picture.png');
    const bytes = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x00, 0xff]);
    await writeFile(file, bytes);
    expect(await hal9('content', 'add', '--input', file, '--media-type', 'image/png')).toEqual({ request: 'POST /v1/contents', type: 'image/png', body: bytes });
    expect(await hal9('webhooks', 'receive', 'some-hook', '--input', file)).toEqual({ request: 'POST /v1/hooks/some-hook', type: 'application/octet-stream', body: bytes });
    await expect(hal9('content', 'add')).rejects.toThrow('--input is needed');
  });

  it('is a form where the API takes one, made of fields', async () => {
    const form = await hal9('sign-in', 'sign-in-by-ldap', 'acme', 'directory', '--field', 'userName=ada', '--field', 'password=a b&c');
    expect({ ...form, body: form?.body.toString() }).toEqual({ request: 'POST /sign-in/acme/ldap/directory', type: 'application/x-www-form-urlencoded', body: 'userName=ada&password=a+b%26c' });
  });

  it('is JSON everywhere else, of a file with fields over it', async () => {
    const file = join(folder, 'key.json');
    await writeFile(file, '{"name": "ci", "scopes": ["runs:read"]}');
    const json = await hal9('keys', 'create', '--input', file, '--field', 'name=other');
    expect([json?.request, json?.type, JSON.parse(json?.body.toString() ?? '')]).toEqual(['POST /v1/api-keys', 'application/json', { name: 'other', scopes: ['runs:read'] }]);
  });
});
