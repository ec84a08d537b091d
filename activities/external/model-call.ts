import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateText, jsonSchema, NoObjectGeneratedError, NoOutputGeneratedError, Output, RetryError, type LanguageModel, type LanguageModelUsage } from 'ai';
import { z } from 'zod';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure, explainStatus } from '../../platform/connections/failure.ts';
import type { LlmBehaviour } from '../../schemas/neurons/definition.ts';
import type { LlmSettings } from '../../schemas/rest/connections.ts';

// The SDK prints warnings to the console, with parts of the request.
globalThis.AI_SDK_LOG_WARNINGS = false;

/** A picture that goes with a prompt. */
export interface Picture {
  readonly mediaType: 'image/png' | 'image/jpeg';
  readonly bytes: Buffer;
}

/** Everything that is sent; hashed, so that equal calls of a batch are made once. */
export interface ModelInput {
  readonly kind: 'llm';
  readonly connection: string;
  readonly model: string;
  readonly system: string;
  readonly prompt: string;
  /** What stands for the pictures that go with it: what they show is kept nowhere. */
  readonly pictures?: readonly { readonly mediaType: Picture['mediaType']; readonly sha256: string }[];
  readonly answer: Readonly<Record<string, unknown>>;
  readonly maxOutputTokens: number;
}

export interface TokenUse {
  readonly input: number;
  readonly output: number;
}

/** What a model call came to. `tokens` null: it may have been billed, but nobody said how much. */
export type ModelOutcome =
  | { readonly kind: 'answer'; readonly answer: unknown; readonly tokens: TokenUse }
  | { readonly kind: 'failure'; readonly reason: string; readonly tokens: TokenUse | null };

const NO_TOKENS: TokenUse = { input: 0, output: 0 };
/** Tries after the first, on 429, 408, 409, 5xx and when no connection comes about; waits as Retry-After says, all within the time limit. */
const RETRIES = 2;
/** Longest answer read from a provider, bytes. */
const ANSWER_LIMIT = 4 * 1024 * 1024;
/** What providers add to a request: the frame around a tool and its use (a few hundred tokens), with room. */
const OVERHEAD_TOKENS = 1024;
/**
 * Most tokens of a picture, of the models of each provider that count the most: Anthropic's high resolution ones 4,784
 * (https://docs.anthropic.com/en/docs/build-with-claude/vision), gpt-4o-mini 2,833 and 5,667 for each of eight tiles
 * (https://platform.openai.com/docs/guides/images-vision). Compatible servers do not say.
 */
const PICTURE_TOKENS: Readonly<Record<LlmSettings['provider'], number>> = { 'anthropic': 5_000, 'openai': 50_000, 'openai-compatible': 50_000 };

/**
 * Most tokens a call can use: tokenizers of these providers make at most one token of one byte of UTF-8, and the output is capped.
 * Retries are only made when the try before was refused, which providers do not bill.
 */
export function worstTokens(input: ModelInput, provider: LlmSettings['provider']): TokenUse {
  const bytes = Buffer.byteLength(input.system) + Buffer.byteLength(input.prompt) + Buffer.byteLength(JSON.stringify(input.answer));
  return { input: bytes + OVERHEAD_TOKENS + (input.pictures ?? []).length * PICTURE_TOKENS[provider], output: input.maxOutputTokens };
}

/**
 * Asks the model for an answer that fits the neuron's JSON Schema.
 * @param pictures those that `input` names.
 * @param signal cancels the call; the neuron's own time limit comes on top.
 * @throws when `signal` aborts, and on nothing else.
 */
export async function callModel(egress: Egress, settings: LlmSettings, behaviour: LlmBehaviour, input: ModelInput, pictures: readonly Picture[], signal: AbortSignal): Promise<ModelOutcome> {
  const check = answerCheck(input.answer);
  if (check === undefined) return { kind: 'failure', reason: 'the JSON Schema of the answer uses what is not supported', tokens: NO_TOKENS };
  try {
    const result = await generateText({
      model: languageModel(egress, settings, input.model),
      instructions: input.system,
      prompt: pictures.length === 0 ? input.prompt : [{ role: 'user', content: [...pictures.map(({ mediaType, bytes }) => ({ type: 'file' as const, mediaType, data: bytes })), { type: 'text', text: input.prompt }] }],
      output: Output.object({ schema: jsonSchema<unknown>({ ...input.answer }, { validate: check }) }),
      maxOutputTokens: input.maxOutputTokens,
      maxRetries: RETRIES,
      abortSignal: AbortSignal.any([signal, AbortSignal.timeout(behaviour.timeoutSeconds * 1000)]),
    });
    const tokens = usedTokens(result.usage);
    return tokens === null ? { kind: 'failure', reason: 'the provider did not say how many tokens it used', tokens } : { kind: 'answer', answer: result.output, tokens };
  } catch (error) {
    if (signal.aborted) throw error;
    return { kind: 'failure', ...explain(error) };
  }
}

function languageModel(egress: Egress, settings: LlmSettings, model: string): LanguageModel {
  const common = { apiKey: settings.apiKey, fetch: sentOnce(egress.limited(ANSWER_LIMIT)), ...(settings.baseUrl === undefined ? {} : { baseURL: settings.baseUrl }) };
  switch (settings.provider) {
    case 'anthropic':
      return createAnthropic(common)(model);
    case 'openai':
      return createOpenAI(common).responses(model);
    case 'openai-compatible':
      return createOpenAI(common).chat(model);
  }
}

/** The request was sent and its answer was lost on the way. Without a cause: the SDK repeats whatever has a network error inside. */
class AnswerLost extends Error {
  override readonly name = 'AnswerLost';
}

/** Keeps the SDK from repeating a request that may have arrived: it would be billed twice. */
function sentOnce(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    try {
      const response = await fetch(input, init);
      return new Response(await response.arrayBuffer(), { status: response.status, statusText: response.statusText, headers: response.headers });
    } catch (error) {
      if (init?.signal?.aborted === true || neverSent(error)) throw error;
      throw new AnswerLost(explainFailure(error).message);
    }
  };
}

/** The schema as a check; undefined when it cannot be one. */
function answerCheck(schema: Readonly<Record<string, unknown>>) {
  let checker: z.ZodType;
  try {
    checker = z.fromJSONSchema({ ...schema });
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
  return (value: unknown): { success: true; value: unknown } | { success: false; error: Error } => {
    const parsed = checker.safeParse(value);
    return parsed.success ? { success: true, value: parsed.data } : { success: false, error: new Error('the answer does not fit the schema') };
  };
}

function usedTokens(usage: LanguageModelUsage | undefined): TokenUse | null {
  if (usage?.inputTokens === undefined || usage.outputTokens === undefined) return null;
  return { input: usage.inputTokens, output: usage.outputTokens };
}

/** In our own words: an error of the SDK carries the prompt and the answer. */
function explain(error: unknown): { reason: string; tokens: TokenUse | null } {
  if (RetryError.isInstance(error)) return explain(error.lastError);
  if (error instanceof AnswerLost) return { reason: error.message, tokens: null };
  if (NoObjectGeneratedError.isInstance(error)) {
    const reason = error.finishReason === 'length' ? 'the answer was longer than maxOutputTokens' : 'the answer does not fit the schema';
    return { reason, tokens: usedTokens(error.usage) };
  }
  if (NoOutputGeneratedError.isInstance(error)) return { reason: 'the model gave no answer', tokens: null };
  if (APICallError.isInstance(error)) {
    const { statusCode } = error;
    // A provider that answered an error did not bill; one whose success cannot be read may have.
    if (statusCode !== undefined && (statusCode < 200 || statusCode > 299)) return { reason: explainStatus(statusCode, new Headers(error.responseHeaders ?? {})).message, tokens: NO_TOKENS };
    if (statusCode !== undefined) return { reason: 'the answer of the provider cannot be read', tokens: null };
    return { reason: explainFailure(error).message, tokens: neverSent(error) ? NO_TOKENS : null };
  }
  return { reason: explainFailure(error).message, tokens: neverSent(error) ? NO_TOKENS : null };
}

/** Failures before a byte of the request left. */
const BEFORE_SENDING: ReadonlySet<string> = new Set(['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'EADDRREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

function neverSent(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 6; current = current.cause, depth += 1) {
    if ('code' in current && typeof current.code === 'string' && BEFORE_SENDING.has(current.code)) return true;
  }
  return false;
}
