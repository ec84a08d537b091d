import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { z } from 'zod';
import { judge } from './admission.ts';
import { servingCertificate } from './certificate.ts';
import type { Cluster } from './cluster.ts';
import { KubernetesError, type Kubernetes } from './kubernetes.ts';
import { lookAround } from './neighbourhood.ts';
import { CLUSTERS, pathOf } from './objects.ts';

const CONFIGURATIONS = { apiVersion: 'admissionregistration.k8s.io/v1', plural: 'validatingwebhookconfigurations' } as const;
const CERTIFICATE_CHECK_MS = 60_000;
/** The API server sends an object with its old self, each at most 1.5 MB in etcd. */
const LARGEST_REVIEW = 4 * 1024 * 1024;

const reviewSchema = z.looseObject({ request: z.looseObject({ uid: z.string(), operation: z.string(), object: z.unknown() }) });
const configurationSchema = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }), webhooks: z.array(z.looseObject({ clientConfig: z.looseObject({ caBundle: z.string().optional() }) })) });

export interface WebhookOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly namespace: string;
  /** Of the certificate's Secret, and of the ValidatingWebhookConfiguration that gets its authority. */
  readonly name: string;
  readonly hosts: readonly string[];
  readonly logger: Logger;
}

export interface Webhook {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves admission reviews (`admission.k8s.io/v1`) of HAL9Cluster over TLS. Every operator does, whoever leads. */
export async function startWebhook(api: Kubernetes, options: WebhookOptions): Promise<Webhook> {
  const { namespace, name, hosts, logger } = options;
  const named = { namespace, name: `${name}-webhook`, hosts };
  let certificate = await servingCertificate(api, named);
  const server = createServer({ cert: certificate.cert, key: certificate.key }, (request, response) => {
    answer(api, request, response).catch((error: unknown) => {
      logger.warn({ err: error }, 'a review failed');
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options.port, options.host, resolve));
  await announce(api, name, certificate.authority);
  const renew = async (): Promise<void> => {
    const next = await servingCertificate(api, named);
    if (next.cert !== certificate.cert) server.setSecureContext({ cert: next.cert, key: next.key });
    certificate = next;
    await announce(api, name, next.authority);
  };
  const timer = setInterval(() => void renew().catch((error: unknown) => logger.warn({ err: error }, 'the certificate of the webhook was not looked after')), CERTIFICATE_CHECK_MS);
  const address = server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : options.port,
    close: () =>
      new Promise((resolve) => {
        clearInterval(timer);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Tells the API server whom to trust, where the installation has a configuration of the webhook. */
async function announce(api: Kubernetes, name: string, authority: string): Promise<void> {
  const path = pathOf(CONFIGURATIONS, '', name);
  const found = await api.find<unknown>(path);
  if (found === undefined) return;
  const configuration = configurationSchema.parse(found);
  const caBundle = Buffer.from(authority).toString('base64');
  if (configuration.webhooks.every(({ clientConfig }) => clientConfig.caBundle === caBundle)) return;
  const webhooks = configuration.webhooks.map((webhook) => ({ ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } }));
  try {
    await api.merge(path, { metadata: { resourceVersion: configuration.metadata.resourceVersion }, webhooks });
  } catch (error) {
    if (!(error instanceof KubernetesError) || error.status !== 409) throw error;
    await announce(api, name, authority);
  }
}

async function answer(api: Kubernetes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'POST' || request.url?.split('?')[0] !== '/validate') {
    response.writeHead(404).end();
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_REVIEW) {
      response.writeHead(413).end();
      return;
    }
    chunks.push(chunk);
  }
  const review = reviewSchema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
  const verdict = await verdictOn(api, review.request);
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid: review.request.uid, ...verdict } }));
}

async function verdictOn(api: Kubernetes, request: z.output<typeof reviewSchema>['request']): Promise<{ allowed: boolean; status?: { code: number; message: string }; warnings?: readonly string[] }> {
  // The schema was checked before: the API server asks webhooks last.
  const cluster = request.object as Cluster;
  if (request.operation === 'DELETE' || cluster.metadata.deletionTimestamp !== undefined) return { allowed: true };
  const { namespace = '' } = cluster.metadata;
  const { items } = await api.get<{ items: Cluster[] }>(pathOf(CLUSTERS, namespace));
  const { refusal, warnings } = judge(cluster, await lookAround(api, cluster, items));
  return refusal === undefined ? { allowed: true, warnings } : { allowed: false, status: { code: 422, message: refusal } };
}
