import type { ServerResponse } from 'node:http';
import { json } from '../environment/http-server.ts';

/** An answer of the Messages API, https://docs.anthropic.com/en/api/messages: structured output by a forced tool, or as text by `output_config`. */
export function answerMessage(response: ServerResponse, request: string, answer: unknown, usage = { input_tokens: 120, output_tokens: 30 }): void {
  const tool: unknown = JSON.parse(request).tools?.[0]?.name;
  const content = typeof tool === 'string' ? { type: 'tool_use', id: 'toolu_1', name: tool, input: answer } : { type: 'text', text: JSON.stringify(answer) };
  json(response, 200, {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [content],
    stop_reason: typeof tool === 'string' ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: { ...usage, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 },
  });
}

/** https://docs.anthropic.com/en/api/errors */
export function answerError(response: ServerResponse, status: number, type: string, headers: Record<string, string> = {}): void {
  json(response, status, { type: 'error', error: { type, message: `${type} for key sk-ant-canary` } }, headers);
}
