import { createServer } from 'node:http';
import { once } from 'node:events';
import { signalSchema, type Signal } from '../../schemas/signals/signal.ts';

/** A receiver of signals that answers as told: the API's manners are tested with the API itself. */
export async function receiver(answer: (count: number) => number) {
  const received: Signal[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (request.method === 'GET') return void response.end('');
      const signals = body.trim().split('\n').map((line) => signalSchema.parse(JSON.parse(line)));
      const status = answer(signals.length);
      if (status === 202) received.push(...signals);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ accepted: signals.length, rejectedCount: 0 }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return { url: `http://127.0.0.1:${address.port}`, received, port: address.port, close: () => new Promise((resolve) => server.close(resolve)) };
}
