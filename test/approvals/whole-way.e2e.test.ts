import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { answerError, answerMessage } from '../external/anthropic.ts';

const decisions = z.object({ items: z.array(z.object({ id: z.string(), summary: z.string(), reason: z.string(), effectState: z.string(), costUsd: z.string() })) });

/** The shipped processes, from a signal over a model's answer and a person's approval to a message. */
describe('from a signal to an approved effect', () => {
  let folder: string;
  let stack: Stack;
  let model: LocalServer;
  let chat: LocalServer;
  let hook: LocalServer;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-way-'));
    await chmod(folder, 0o755);
    [model, chat, hook] = await Promise.all([startHttpServer(), startHttpServer(), startHttpServer()]);
    stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' } });
  });
  afterAll(async () => {
    await stack.stop();
    await Promise.all([model.close(), chat.close(), hook.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  const send = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${stack.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${stack.first?.apiKey ?? ''}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  const signal = (id: string) => send('POST', '/v1/signals', { specversion: '1.0', id, source: 'test', type: 'way.incident', data: { what: id } });
  const decided = async (summary: string) => decisions.parse(await send('GET', '/v1/decisions')).items.find((item) => item.summary === summary);

  it('asks the model, asks a person, and lets the message go', async () => {
    model.answer = (request, response) => (request.method === 'GET' ? response.end('{}') : answerMessage(response, request.body, { urgent: true }, { input_tokens: 1000, output_tokens: 100 }));
    await send('POST', '/v1/connections', { name: 'models', settings: { kind: 'llm', provider: 'anthropic', apiKey: 'k', baseUrl: `${model.url}/v1` } });
    await send('POST', '/v1/connections', { name: 'approvals', settings: { kind: 'webhook', url: chat.url } });
    await send('POST', '/v1/connections', { name: 'hook', settings: { kind: 'webhook', url: hook.url } });
    const decide = (summary: string, rest: object = {}) => [{ when: 'true', decide: { summary, reason: '"because"', ...rest } }];
    await send('POST', '/v1/neurons', {
      name: 'judge', layer: 'L2', subscription: { types: ['way.incident'] },
      behaviour: {
        kind: 'llm', connection: 'models', model: 'claude-3-haiku-20240307', system: 'Judge.', prompt: 'string(signal.data.what)', timeoutSeconds: 5, price: { input: 1, output: 10 },
        answer: { type: 'object', properties: { urgent: { type: 'boolean' } }, required: ['urgent'] },
        rules: decide('"asked " + string(signal.data.what)', { notify: { connection: 'hook', title: '"act"', message: '"now"' }, approval: {} }),
        fallback: decide('"guessed " + string(signal.data.what)'),
      },
    });
    await signal('one');
    await expect.poll(() => chat.received.length).toBe(2); // the test of the connection, and the question
    expect(await decided('asked one')).toMatchObject({ effectState: 'awaiting-approval', costUsd: '0.002000000' });
    expect(hook.received).toHaveLength(1); // the test of the connection
    const question = z.object({ data: z.object({ title: z.string(), link: z.url() }) }).parse(JSON.parse(chat.received[1]?.body ?? '')).data;
    expect(question.title).toBe('Approval needed: asked one');
    const link = `${stack.url}${new URL(question.link).pathname}`;
    expect((await fetch(link)).status).toBe(200);
    expect((await fetch(`${link}?answer=approve`, { method: 'POST' })).status).toBe(200);
    await expect.poll(() => hook.received.length).toBe(2);
    expect(JSON.parse(hook.received[1]?.body ?? '')).toMatchObject({ type: 'hal9.notification', data: { title: 'act', message: 'now' } });
    await expect.poll(async () => (await decided('asked one'))?.effectState).toBe('done');
  });

  it('falls back to the rules when the provider is down, and says so', async () => {
    model.answer = (_, response) => answerError(response, 401, 'authentication_error');
    await signal('two');
    await expect.poll(() => decided('guessed two')).toMatchObject({ reason: expect.stringContaining('the credential was refused (HTTP 401)') });
  });
});
