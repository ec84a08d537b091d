import { createServer, request, type Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readJson } from '../../api/json-body.ts';
import { HalError } from '../../schemas/errors.ts';

/** The reader behind a real HTTP server; answers what it read, or the failure. */
describe('JSON bodies', () => {
  let server: Server;
  let port = 0;
  beforeAll(async () => {
    server = createServer((incoming, response) => {
      readJson(incoming, { limitBytes: 100_000, arrivalMs: 300 }).then(
        (value) => response.end(JSON.stringify({ value })),
        (error: unknown) => response.end(JSON.stringify({ failure: error instanceof HalError ? error.type : String(error), detail: error instanceof Error ? error.message : '' })),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const post = async (body: string | Buffer, headers: Record<string, string> = {}): Promise<Record<string, unknown>> =>
    (await fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body })).json() as Promise<Record<string, unknown>>;

  it('reads what JSON.parse reads', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 8, noUnicodeString: false }), async (value) => {
        const text = JSON.stringify(value);
        // What cannot be stored is refused; see below.
        fc.pre(!/__proto__|\\u(0000|d[89a-f])/.test(text));
        expect(await post(text)).toEqual({ value: JSON.parse(text) as unknown });
      }),
      { numRuns: 150 },
    );
  });

  it('never answers anything but a value or a known failure', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const answer = await post(Buffer.from(bytes));
        expect('value' in answer || answer['failure'] === 'MalformedBody').toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('tells brackets in strings from nesting', async () => {
    const text = JSON.stringify({ text: `${'['.repeat(500)} \\" ${'{'.repeat(500)}\\` });
    expect(await post(text)).toEqual({ value: JSON.parse(text) as unknown });
    expect(await post(`${'['.repeat(64)}${']'.repeat(64)}`)).toHaveProperty('value');
    expect(await post(`${'['.repeat(65)}${']'.repeat(65)}`)).toMatchObject({ failure: 'MalformedBody', detail: 'the body nests deeper than 64 levels' });
    expect(await post('['.repeat(90_000))).toMatchObject({ failure: 'MalformedBody' });
  });

  it('says where the text is wrong without quoting it', async () => {
    const answer = await post('{"password": "hunter2", oops}');
    expect(answer).toMatchObject({ failure: 'MalformedBody', detail: expect.stringMatching(/at position \d+/) });
    expect(JSON.stringify(answer)).not.toContain('hunter2');
  });

  it('gives up on a body that does not arrive', async () => {
    const began = performance.now();
    const answer = await new Promise<string>((resolve, reject) => {
      const slow = request({ port, host: '127.0.0.1', method: 'POST', headers: { 'content-type': 'application/json', 'content-length': '1000' } }, (response) => {
        response.on('data', (chunk: Buffer) => resolve(chunk.toString()));
      });
      slow.on('error', reject);
      slow.write('{"a":');
    });
    expect(answer).toContain('did not arrive within 0.3 s');
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it('notices a client that hangs up halfway', async () => {
    const gone = request({ port, host: '127.0.0.1', method: 'POST', headers: { 'content-type': 'application/json', 'content-length': '1000' } });
    gone.on('error', () => undefined);
    gone.write('{"a":');
    await sleep(50);
    gone.destroy();
    expect(await post('{"still": "here"}')).toEqual({ value: { still: 'here' } });
  });
});
