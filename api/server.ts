import { watch, type FSWatcher } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { randomUUID } from 'node:crypto';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { basename, dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Express } from 'express';
import type { Logger } from 'pino';
import { HalError } from '../schemas/errors.ts';
import { PROBLEM_TYPE, problemOf } from './problem.ts';
import { newTraceparent } from './request-trace.ts';

export interface ServerOptions {
  host: string;
  /** 0 picks a free one. */
  port: number;
  tls?: { certFile: string; keyFile: string };
  logger: Logger;
  /** Time open requests have at shutdown, milliseconds; default 25,000: below the 30 s that Kubernetes gives. */
  drainMs?: number;
}

export interface RunningServer {
  readonly port: number;
  readonly https: boolean;
  /** Stops listening, lets open requests finish within the drain time, then closes what is left. */
  stop(): Promise<void>;
}

/** Node's limits against clients that hold connections by sending slowly; bodies have limits of their own (`json-body.ts`). */
const LIMITS = { headersTimeout: 10_000, requestTimeout: 0, keepAliveTimeout: 65_000, maxHeadersCount: 100, connectionsCheckingInterval: 2_000 } as const;
const MAX_HEADER_BYTES = 16 * 1024;
/** Connections that wait to be accepted while the process is busy; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 4096;
const CREATION = { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: LIMITS.connectionsCheckingInterval, requireHostHeader: false } as const;
const DRAIN_MS = 25_000;
/** Certificate and key are written one after the other: wait for both, milliseconds. */
const RELOAD_AFTER_MS = 200;

export async function listen(app: Express, options: ServerOptions): Promise<RunningServer> {
  const { server, close } = options.tls === undefined ? { server: createServer(CREATION, app), close: () => undefined } : await secure(app, options.tls, options.logger);
  server.headersTimeout = LIMITS.headersTimeout;
  server.requestTimeout = LIMITS.requestTimeout;
  server.keepAliveTimeout = LIMITS.keepAliveTimeout;
  server.maxHeadersCount = LIMITS.maxHeadersCount;
  answerUnreadable(server, app);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: options.port, host: options.host, backlog: BACKLOG }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    https: options.tls !== undefined,
    async stop() {
      close();
      await drain(server, options.drainMs ?? DRAIN_MS);
    },
  };
}

/** What Node refuses before there is a request is a problem too: it says what to do and closes the connection. */
function answerUnreadable(server: Server | TlsServer, app: Express): void {
  const answering = new WeakMap<Duplex, ServerResponse>();
  server.on('request', (request, response) => {
    const { socket } = request;
    answering.set(socket, response);
    // A connection that rests would keep its last request, and so most of the young memory, from being let go.
    response.once('close', () => {
      if (answering.get(socket) === response) answering.delete(socket);
    });
  });
  // An expectation that nobody knows is no reason to refuse (RFC 9110, 10.1.1).
  server.on('checkExpectation', app);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const open = answering.get(socket);
    // In the midst of an answer another one would be read as a part of it.
    if (!socket.writable || error.code === 'ECONNRESET' || (open !== undefined && open.headersSent && !open.writableFinished)) {
      socket.destroy();
      return;
    }
    const id = randomUUID();
    const failure = failureOf(error.code);
    const body = JSON.stringify(problemOf(failure, id));
    const head = [`HTTP/1.1 ${failure.failure.status} ${failure.failure.title}`, `Content-Type: ${PROBLEM_TYPE}`, `Content-Length: ${Buffer.byteLength(body)}`, `X-Request-Id: ${id}`, `X-Trace-Id: ${newTraceparent().slice(3, 35)}`, 'Cache-Control: no-store', 'Connection: close'];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
  });
}

function failureOf(code: string | undefined): HalError {
  if (code === 'HPE_HEADER_OVERFLOW') return new HalError('HeadersTooLarge', `address and headers are longer than ${MAX_HEADER_BYTES} bytes`);
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new HalError('RequestTooSlow', `the headers did not arrive within ${LIMITS.headersTimeout / 1000} s`);
  return new HalError('MalformedRequest', 'this is not HTTP/1.1');
}

async function drain(server: Server | TlsServer, limitMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // Connections that are busy now go idle with their answer; keep-alive would hold them open.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const limit = setTimeout(() => server.closeAllConnections(), limitMs);
  await closed;
  clearInterval(idle);
  clearTimeout(limit);
}

async function secure(app: Express, files: { certFile: string; keyFile: string }, logger: Logger): Promise<{ server: TlsServer; close: () => void }> {
  const read = async () => ({ cert: await readFile(files.certFile), key: await readFile(files.keyFile) });
  const server = createTlsServer({ ...(await read()), minVersion: 'TLSv1.2', ...CREATION }, app);
  let timer: NodeJS.Timeout | undefined;
  const reload = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      read()
        .then((context) => {
          server.setSecureContext({ ...context, minVersion: 'TLSv1.2' });
          logger.info({ event: 'certificate-reloaded' }, 'certificate reloaded');
        })
        // A half-written pair: the old one goes on, and the next change of the files tries again.
        .catch((error: unknown) => logger.error({ err: error }, 'the new certificate cannot be used'));
    }, RELOAD_AFTER_MS);
  };
  const watchers = watchFiles([files.certFile, files.keyFile], reload);
  return {
    server,
    close() {
      clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/** Watches the folders, because renewals replace files (and Kubernetes swaps a link named `..data`). */
function watchFiles(files: readonly string[], changed: () => void): FSWatcher[] {
  const names = new Set([...files.map((file) => basename(file)), '..data']);
  return [...new Set(files.map((file) => dirname(file)))].map((folder) =>
    watch(folder, (_event, name) => {
      if (name === null || names.has(name)) changed();
    }),
  );
}
