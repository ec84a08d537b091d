import type { CallToolResult, ToolAnnotations } from '@modelcontextprotocol/sdk/types.js';
import type { z } from 'zod';
import type { Caller } from '../../platform/identity/caller.ts';

/** One thing a model can do. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: z.ZodObject;
  readonly annotations: ToolAnnotations;
  /** @throws {HalError} told to the model as an answer with `isError`. */
  readonly call: (caller: Caller, input: unknown) => Promise<CallToolResult>;
}

type ToolDraft<Input extends z.ZodObject> = Omit<Tool, 'input' | 'call' | 'annotations'> & {
  readonly input: Input;
  /** Whether it only looks; default not. */
  readonly looks?: true;
  readonly call: (caller: Caller, input: z.output<Input>) => Promise<CallToolResult>;
};

/** Keeps the inferred type of the input for the call, and holds the input to its schema. */
export function defineTool<Input extends z.ZodObject>({ looks, call, ...draft }: ToolDraft<Input>): Tool {
  return {
    ...draft,
    // What pages and operations do is the world's; nothing is known to be undone or done twice without harm.
    annotations: looks === true ? { readOnlyHint: true, openWorldHint: true } : { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
    call: (caller, input) => call(caller, draft.input.parse(input)),
  };
}

/** JSON for the model to read, and for programs as it is. */
export function answered(value: Readonly<Record<string, unknown>>): CallToolResult {
  return { content: [{ type: 'text', text: JSON.stringify(value, undefined, 1) }], structuredContent: { ...value } };
}
