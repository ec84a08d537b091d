import { setTimeout as sleep } from 'node:timers/promises';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { ApiError, ConnectionError, RequestTimeout } from './problem.ts';
import type { Transport } from './transport.ts';

export interface StreamEvent {
  /** Position in the stream; a stream opened with it goes on after it. */
  readonly id: string | undefined;
  readonly event: string;
  /** Parsed when it is JSON. */
  readonly data: unknown;
}

export interface StreamOptions {
  /** Position to go on after. */
  readonly lastEventId?: string;
  readonly signal?: AbortSignal;
  /** Ends the stream after this event; without it a stream that closes is opened again. */
  readonly until?: (event: StreamEvent) => boolean;
}

/** Wait before a stream is opened again unless the server says otherwise, milliseconds. */
const RECONNECT_MS = 1000;

/**
 * Events of a `text/event-stream`. A broken stream is opened again with `Last-Event-ID`, so that nothing is lost or seen twice.
 * @throws {ApiError} when the server refuses for good.
 */
export async function* readEvents(transport: Transport, path: string, options: StreamOptions = {}): AsyncGenerator<StreamEvent, void, undefined> {
  let position = options.lastEventId;
  let waitMs = RECONNECT_MS;
  for (;;) {
    try {
      const response = await transport.send({
        method: 'GET',
        path,
        headers: { accept: 'text/event-stream', ...(position === undefined ? {} : { 'last-event-id': position }) },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      if (response.status === 204 || response.body === null) return;
      for await (const event of eventsOf(response.body, (ms) => (waitMs = ms))) {
        if (event.id !== undefined && event.id !== '') position = event.id;
        yield event;
        if (options.until?.(event) === true) return;
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      const lost = error instanceof ConnectionError || error instanceof RequestTimeout || error instanceof Broken || (error instanceof ApiError && error.retryable);
      if (!lost) throw error;
    }
    await sleep(waitMs, undefined, options.signal === undefined ? {} : { signal: options.signal }).catch((error: unknown) => {
      options.signal?.throwIfAborted();
      throw error;
    });
  }
}

/** The stream ended in the middle. */
class Broken extends Error {
  override readonly name = 'Broken';
}

async function* eventsOf(body: ReadableStream<Uint8Array>, onRetry: (ms: number) => void): AsyncGenerator<StreamEvent> {
  const ready: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => void ready.push(event), onRetry });
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new Broken('the stream broke', { cause: error });
      });
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      for (const { id, event, data } of ready.splice(0)) yield { id, event: event ?? 'message', data: parsed(data) };
    }
  } finally {
    // Whoever stops reading lets go of the connection; it may be gone already.
    await reader.cancel().catch(() => undefined);
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return data; // text
  }
}
