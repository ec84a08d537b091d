import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventStream } from '../../api/event-stream.ts';

describe('an event stream', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('sends a comment every fifteen seconds while nothing happens, and none once it has ended', async () => {
    let stream: EventStream | undefined;
    const server = createServer((_request, response: ServerResponse) => {
      // Express's response is Node's with more to it than a stream needs.
      stream = new EventStream(response as ConstructorParameters<typeof EventStream>[0]);
      stream.open();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      const whole = answer.text();
      vi.advanceTimersByTime(14_999);
      stream?.send({ id: '1', event: 'progress', data: '{}' });
      vi.advanceTimersByTime(30_001);
      stream?.end();
      stream?.close();
      vi.advanceTimersByTime(60_000);
      const text = await whole;
      expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      expect(text).toMatch(/^retry: 1000\n\nid: 1\nevent: progress\ndata: {}\n\n(:[^\n]*\n\n){3}$/);
    } finally {
      server.close();
    }
  });
});
