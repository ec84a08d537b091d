import { JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { InteractiveBrowsers } from '../../platform/browser/interactive.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { createBrowserTools } from '../mcp/browser-tools.ts';
import { createRunTools } from '../mcp/run-tools.ts';
import { answerMessage } from '../mcp/server.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

/** One message: a JSON-RPC 2.0 request or notification; several at once are not taken, each counts against the limits. */
const messageBody = z.looseObject({ jsonrpc: z.literal('2.0'), id: z.union([z.string().max(300), z.int()]).optional(), method: z.string().max(200).optional(), params: z.record(z.string(), z.unknown()).optional() });

/** The Model Context Protocol over streamable HTTP, without sessions of its own. */
export function createMcpRoutes({ operations, interactive, version }: { operations: Operations; interactive: InteractiveBrowsers; version: string }): AnyRoute[] {
  const tools = [...createBrowserTools(interactive), ...createRunTools(operations)];
  return [
    defineRoute({
      method: 'post',
      path: '/v1/mcp',
      id: 'postMcpMessage',
      tag: 'MCP',
      summary: 'Takes a message of the Model Context Protocol',
      description: 'Streamable HTTP of https://modelcontextprotocol.io, answered as JSON; no session is kept and nothing is streamed from here. Tools work a browser and start and read runs; each asks for the permission that its route asks for. `hal9 mcp` is the same over standard input.',
      permission: 'runs:read',
      audit: { none: 'each tool leaves the act of what it does' },
      access: () => ({ filtered: true }),
      timeoutMs: 75_000,
      headers: { 'MCP-Protocol-Version': 'The version that was agreed on at initialization.' },
      body: messageBody,
      responses: { 200: { description: 'The answer to a request.', schema: z.looseObject({ jsonrpc: z.literal('2.0') }) }, 202: { description: 'A notification was taken.' } },
      async handler({ caller, body, request }) {
        const message = JSONRPCMessageSchema.safeParse(body);
        if (!message.success) throw new HalError('InvalidInput', 'the body is no message of JSON-RPC 2.0');
        const agreed = request.headers['mcp-protocol-version'];
        const answer = await answerMessage(tools, version, caller, message.data, typeof agreed === 'string' ? agreed : undefined);
        return answer === undefined ? { status: 202 } : { status: 200, body: answer, headers: { 'Content-Type': 'application/json' } };
      },
    }),
  ];
}
