import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { BOOKING_LOGIN, startBookingSite, type BookingSite } from '../browser/sites/booking.ts';

const ROOT = join(import.meta.dirname, '../..');

interface ToolAnswer {
  readonly isError?: boolean;
  readonly content: readonly { readonly type: string; readonly text?: string; readonly data?: string; readonly mimeType?: string }[];
  readonly structuredContent?: Record<string, unknown>;
}

/** The Model Context Protocol with the SDK's own client, over both transports, against the running stack. */
describe('MCP', () => {
  let folder = '';
  let stack: Stack;
  let site: BookingSite;
  let key = '';

  const send = (method: string, path: string, body?: unknown, as = key): Promise<Response> =>
    fetch(`${stack.url}${path}`, { method, headers: { 'Authorization': `Bearer ${as}`, 'Content-Type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const response = await send(method, path, body);
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  };
  const keyWith = async (...scopes: string[]): Promise<string> => {
    const made = await call('POST', '/v1/api-keys', { name: scopes.join(' '), scopes });
    return String(made['secret'] ?? made['key']);
  };
  const overHttp = (as = key): Transport => new StreamableHTTPClientTransport(new URL(`${stack.url}/v1/mcp`), { requestInit: { headers: { Authorization: `Bearer ${as}` } } }) as Transport;
  const overStdio = (as = key): Transport => new StdioClientTransport({ command: process.execPath, args: [join(ROOT, 'cli/main.ts'), 'mcp'], env: { PATH: process.env['PATH'] ?? '', HAL9_URL: stack.url, HAL9_API_KEY: as, HAL9_CONFIG: join(folder, 'none.json') } });
  const connected = async (transport: Transport): Promise<{ client: Client; tool: (name: string, input?: Record<string, unknown>) => Promise<ToolAnswer> }> => {
    const client = new Client({ name: 'test', version: '1.0.0' });
    await client.connect(transport);
    return { client, tool: async (name, input = {}) => (await client.callTool({ name, arguments: input })) as ToolAnswer };
  };
  const text = (answer: ToolAnswer): string => answer.content.map((part) => part.text ?? '').join('\n');

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-mcp-'));
    await chmod(folder, 0o755);
    [stack, site] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }, processes: ['api', 'core', 'dispatcher', 'browser'] }), startBookingSite()]);
    key = stack.first?.apiKey ?? '';
    await call('POST', '/v1/connections?test=false', { name: 'booking', settings: { kind: 'website', origins: [site.url], ...BOOKING_LOGIN } });
  });
  afterAll(async () => {
    await stack.stop();
    await site.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('books a room step by step', async () => {
    const { client, tool } = await connected(overHttp());
    try {
      const { tools } = await client.listTools();
      expect(tools.map((each) => each.name)).toEqual(expect.arrayContaining(['open', 'navigate', 'click', 'type', 'extract', 'screenshot', 'wait_for', 'snapshot', 'close', 'start_run', 'describe_run', 'list_runs', 'cancel_run', 'run_result']));
      const opened = await tool('open', { url: `${site.url}/login` });
      expect(text(opened)).toContain('textbox "Password"');
      const session = String(opened.structuredContent?.['session']);
      await tool('type', { session, element: { label: 'User' }, credential: { name: 'booking', field: 'username' } });
      const typed = await tool('type', { session, element: { label: 'Password' }, credential: { name: 'booking', field: 'password' } });
      expect(text(typed)).not.toContain(BOOKING_LOGIN.password);
      expect(text(await tool('click', { session, element: { role: 'button', name: 'Sign in' } }))).toContain('Welcome');
      await tool('click', { session, element: { role: 'link', name: 'New booking' } });
      const reference = 'mcp';
      await tool('type', { session, element: { label: 'Reference' }, text: reference });
      await tool('select', { session, element: { label: 'Room' }, options: ['Double'] });
      for (const page of [2, 3]) {
        await tool('click', { session, element: { role: 'button', name: 'Next' } });
        expect(text(await tool('wait_for', { session, text: `Page ${String(page)} of 3` }))).toMatch(/^Done/);
      }
      await tool('check', { session, element: { label: 'Terms' } });
      await tool('click', { session, element: { role: 'button', name: 'Next' } });
      await tool('click', { session, element: { role: 'button', name: 'Book' } });
      expect((await tool('extract', { session, element: { testId: 'number' } })).structuredContent).toMatchObject({ value: `B-${reference}` });
      expect(site.bookings.get(reference)).toBe(1);

      const lost = await tool('click', { session, element: { role: 'button', name: 'Nowhere' }, timeoutSeconds: 1 });
      expect(lost.isError).toBe(true);
      expect(text(lost)).toContain('there is no button "Nowhere" on the page');
      expect(text(await tool('snapshot', { session }))).toContain('is confirmed');
      const picture = await tool('screenshot', { session });
      expect(Buffer.from(picture.content.find((part) => part.type === 'image')?.data ?? '', 'base64').subarray(0, 2).toString('hex')).toBe('ffd8');

      expect((await tool('describe_run', { runId: session })).structuredContent).toMatchObject({ operation: 'browser-session', status: 'running' });
      await tool('close', { session });
      expect((await tool('run_result', { runId: session, waitSeconds: 30 })).structuredContent).toMatchObject({ status: 'completed', result: { end: 'asked' } });
      const { items } = (await call('GET', `/v1/runs/${encodeURIComponent(session)}/browser-steps`)) as { items: Record<string, unknown>[] };
      expect(items.map((step) => step['verb'])).toEqual(expect.arrayContaining(['navigate', 'type', 'click', 'select', 'extract']));
      expect(JSON.stringify(items)).not.toContain(BOOKING_LOGIN.password);
      expect(await tool('snapshot', { session })).toMatchObject({ isError: true });
    } finally {
      await client.close();
    }
  });

  it('is the same over standard input', async () => {
    const { client, tool } = await connected(overStdio());
    try {
      expect((await client.listTools()).tools.map((each) => each.name)).toContain('wait_for');
      const session = String((await tool('open', { url: `${site.url}/login` })).structuredContent?.['session']);
      expect(text(await tool('type', { session, element: { label: 'User' }, text: 'by {{ hand }}' }))).toContain('by {{ hand }}');
      await tool('close', { session });
      expect(await tool('describe_run', { runId: 'browser-session~none' })).toMatchObject({ isError: true });
    } finally {
      await client.close();
    }
  });

  it('starts, lists, describes and cancels runs', async () => {
    const { client, tool } = await connected(overHttp());
    const { operations } = (await tool('list_operations')).structuredContent as { operations: { name: string }[] };
    expect(operations.map((each) => each.name)).toContain('browser-session');
    const begin = { operation: 'browser', input: { flow: { steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'pause', seconds: 300 }] } }, idempotencyKey: 'one' };
    const { runId } = (await tool('start_run', begin)).structuredContent as { runId: string };
    expect((await tool('start_run', begin)).structuredContent).toEqual({ runId, created: false });
    await expect.poll(async () => (await tool('list_runs', { operation: 'browser' })).structuredContent).toMatchObject({ runs: [{ runId, status: 'running' }] });
    await tool('cancel_run', { runId });
    expect((await tool('run_result', { runId, waitSeconds: 50 })).structuredContent).toMatchObject({ status: 'cancelled' });
    const wrong = await tool('start_run', { operation: 'browser', input: { flow: { steps: [{ do: 'fly' }] } } });
    expect(wrong.isError).toBe(true);
    expect(text(wrong)).toContain('InvalidInput');
    await client.close();
  });

  it('does for a caller what its permissions allow, in its organisation, and writes it down', async () => {
    await expect(connected(overHttp('hal9_sk_nobody'))).rejects.toThrow();
    const reader = await connected(overHttp(await keyWith('runs:read')));
    const refused = await reader.tool('open', { url: `${site.url}/login` });
    expect(refused.isError).toBe(true);
    expect(text(refused)).toContain('Forbidden');
    await reader.client.close();

    const worker = await connected(overHttp(await keyWith('runs:read', 'runs:write')));
    const session = String((await worker.tool('open', { url: `${site.url}/login` })).structuredContent?.['session']);
    expect(text(await worker.tool('screenshot', { session }))).toContain('codec:decode');
    await worker.client.close();

    const other = await connected(overHttp());
    expect(text(await other.tool('snapshot', { session: session.replace(/[0-9a-f]{12}$/, '000000000000') }))).toContain('NotFound');
    await other.tool('close', { session });
    await other.client.close();
    await expect.poll(async () => JSON.stringify(await call('GET', '/v1/audit/entries?action=run.update'))).toContain(session);
  });

  it('goes on in another browser when the one it has is killed between two steps', async () => {
    const { client, tool } = await connected(overHttp());
    const session = String((await tool('open', { url: `${site.url}/login` })).structuredContent?.['session']);
    await tool('type', { session, element: { label: 'User' }, text: 'typed before' });
    stack.kill('browser', 'SIGKILL');
    await expect.poll(async () => text(await tool('snapshot', { session })), { timeout: 180_000 }).toContain('typed before');
    await tool('close', { session });
    await client.close();
  });
});
