import type { Response } from 'express';

/** How often a comment keeps the connection, and proxies on the way, awake, milliseconds. */
const HEARTBEAT_MS = 15_000;
/** How long a client waits before it comes back, milliseconds. */
const RETRY_MS = 1_000;
/** A client that leaves so much unread is let go: it comes back with `Last-Event-ID`, bytes. */
const MOST_UNREAD = 1024 * 1024;

export interface ServerSentEvent {
  readonly id: string;
  readonly event: string;
  /** One line. */
  readonly data: string;
}

const beating = new Set<EventStream>();
let heart: NodeJS.Timeout | undefined;

/** Server-sent events (WHATWG HTML, 9.2) over one response. All streams of the process share one timer. */
export class EventStream {
  readonly #response: Response;

  constructor(response: Response) {
    this.#response = response;
  }

  open(): void {
    const response = this.#response;
    response.statusCode = 200;
    response.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // nginx would hold events back.
    response.setHeader('X-Accel-Buffering', 'no');
    response.flushHeaders();
    response.write(`retry: ${RETRY_MS}\n\n`);
    beating.add(this);
    heart ??= setInterval(beat, HEARTBEAT_MS);
    heart.unref();
  }

  send({ id, event, data }: ServerSentEvent): void {
    if (this.#response.writableEnded) return;
    this.#response.write(`id: ${id}\nevent: ${event}\ndata: ${data}\n\n`);
    if (this.#response.writableLength > MOST_UNREAD) this.#response.destroy();
  }

  beat(): void {
    if (!this.#response.writableEnded) this.#response.write(': still here\n\n');
  }

  end(): void {
    if (!this.#response.writableEnded) this.#response.end();
  }

  /** Stops the heartbeat; call it however the stream ends. */
  close(): void {
    beating.delete(this);
    if (beating.size > 0) return;
    clearInterval(heart);
    heart = undefined;
  }
}

function beat(): void {
  for (const stream of beating) stream.beat();
}
