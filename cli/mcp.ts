import { Command } from 'commander';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { explain } from './exit-code.ts';
import { openSession, type Session } from './session.ts';

/** What JSON-RPC 2.0 calls a failure of the server's own making. */
const SERVER_ERROR = -32_000;

/** `hal9 mcp`: carries messages of the Model Context Protocol between standard input and the API, for programs that start their servers themselves. */
export function addMcpCommand(program: Command): void {
  const command = new Command('mcp').description('Be a server of the Model Context Protocol on standard input and output: browser and runs for a model');
  command.action(async () => {
    const session = await openSession(command);
    const transport = new StdioServerTransport();
    const open = new Set<Promise<void>>();
    transport.onmessage = (message) => {
      const answering = answer(session, transport, message).finally(() => open.delete(answering));
      open.add(answering);
    };
    transport.onerror = (error) => session.terminal.note(error.message);
    await transport.start();
    await new Promise((resolve) => process.stdin.once('end', resolve).once('close', resolve));
    await Promise.all(open);
  });
  program.addCommand(command);
}

type MessageBody = { jsonrpc: '2.0'; method: string; id?: string | number; params?: Record<string, unknown> };

async function answer({ client, terminal }: Session, transport: StdioServerTransport, message: JSONRPCMessage): Promise<void> {
  // The server asks its client nothing, so there are no answers to carry the other way.
  if (!('method' in message)) return;
  try {
    const { method, params } = message;
    const body: MessageBody = { jsonrpc: '2.0', method };
    if ('id' in message) body.id = message.id;
    if (params !== undefined) body.params = { ...params };
    const answered = await client.call('postMcpMessage', { params: {}, body });
    if (answered !== undefined) await transport.send(answered as JSONRPCMessage);
  } catch (error) {
    terminal.note(explain(error));
    if ('id' in message) await transport.send({ jsonrpc: '2.0', id: message.id, error: { code: SERVER_ERROR, message: explain(error) } });
  }
}
