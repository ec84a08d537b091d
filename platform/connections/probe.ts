import { randomUUID } from 'node:crypto';
import type { AmqpSettings, ConnectionSettings, KafkaSettings, KubernetesSettings, LlmSettings, SmtpSettings } from '../../schemas/rest/connections.ts';
import { connectAmqp, explainAmqpFailure } from './amqp.ts';
import type { Egress, EgressAnswer } from './egress.ts';
import { explainFailure, explainStatus, type OutsideFailure } from './failure.ts';
import { KubernetesApi, KubernetesRefusal } from './kubernetes.ts';
import { explainSmtpFailure, smtpTransport } from './smtp-transport.ts';
import { webhookHeaders } from './webhook-signature.ts';

/** Time a test may take, milliseconds. */
const PROBE_MS = 10_000;

/**
 * Uses a connection for real, without consequences where the other side has such a call:
 * smtp connects, encrypts and signs in; slack sends a message without text, which a valid hook refuses with 400;
 * pagerduty resolves an incident that does not exist; webhook posts `{"type":"hal9.test"}`; llm lists the models; http gets the base URL;
 * amqp connects and signs in; website gets its first origin; kafka asks a broker for the cluster, signed in; kubernetes asks the API server whose the token is; ipfs asks the node for its version; pinning lists a pin.
 * @returns what is wrong; undefined when it works.
 */
export async function probe(egress: Egress, settings: ConnectionSettings, signal: AbortSignal): Promise<OutsideFailure | undefined> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(PROBE_MS)]);
  try {
    switch (settings.kind) {
      case 'smtp':
        return await probeSmtp(egress, settings);
      case 'amqp':
        return await probeAmqp(egress, settings);
      case 'kafka':
        return await probeKafka(egress, settings);
      case 'kubernetes':
        return await probeKubernetes(egress, settings, limited);
      case 'slack':
        return probeSlack(await egress.request(settings.url, { method: 'POST', headers: JSON_BODY, body: '{}', signal: limited }));
      case 'pagerduty':
        return unlessOk(
          await egress.request(`${settings.baseUrl.replace(/\/+$/, '')}/v2/enqueue`, {
            method: 'POST',
            headers: JSON_BODY,
            body: JSON.stringify({ routing_key: settings.routingKey, event_action: 'resolve', dedup_key: `hal9-test-${randomUUID()}` }),
            signal: limited,
          }),
        );
      case 'webhook': {
        const body = JSON.stringify({ type: 'hal9.test', timestamp: new Date().toISOString(), data: {} });
        return unlessOk(await egress.request(settings.url, { method: 'POST', headers: webhookHeaders(settings, randomUUID(), body), body, signal: limited }));
      }
      case 'llm': {
        const { url, headers } = modelList(settings);
        return unlessOk(await egress.request(url, { method: 'GET', headers, signal: limited, limitBytes: 8 * 1024 * 1024 }));
      }
      case 'website': {
        // A sign-in would count, and might lock somebody out: only that the site answers.
        const [origin = ''] = settings.origins;
        const answer = await egress.request(origin, { method: 'GET', headers: {}, signal: limited });
        return answer.status >= 500 ? explainStatus(answer.status, answer.headers) : undefined;
      }
      case 'ipfs':
        return unlessOk(await egress.request(`${settings.url.replace(/\/+$/, '')}/api/v0/version`, { method: 'POST', headers: settings.headers, signal: limited }));
      case 'pinning':
        return unlessOk(await egress.request(`${settings.url.replace(/\/+$/, '')}/pins?limit=1`, { method: 'GET', headers: { authorization: `Bearer ${settings.token}` }, signal: limited }));
      case 'http': {
        const answer = await egress.request(settings.baseUrl, { method: 'GET', headers: settings.headers, signal: limited });
        // Many services have nothing at their root: what counts is that they answer and take the credential.
        return answer.status === 401 || answer.status === 403 || answer.status >= 500 ? explainStatus(answer.status, answer.headers) : undefined;
      }
    }
  } catch (error) {
    return explainFailure(error);
  }
}

const JSON_BODY = { 'content-type': 'application/json' } as const;

async function probeSmtp(egress: Egress, settings: SmtpSettings): Promise<OutsideFailure | undefined> {
  const transport = await smtpTransport(egress, settings, PROBE_MS);
  try {
    await transport.verify();
    return undefined;
  } catch (error) {
    return explainSmtpFailure(error);
  } finally {
    transport.close();
  }
}

async function probeAmqp(egress: Egress, settings: AmqpSettings): Promise<OutsideFailure | undefined> {
  try {
    const connection = await connectAmqp(egress, settings, PROBE_MS);
    await connection.close();
    return undefined;
  } catch (error) {
    return explainAmqpFailure(error);
  }
}

async function probeKafka(egress: Egress, settings: KafkaSettings): Promise<OutsideFailure | undefined> {
  // Loaded when it is needed: its client compiles its schemas while it is loaded.
  const { connectKafka, explainKafkaFailure } = await import('./kafka.ts');
  try {
    const { admin } = await connectKafka(egress, settings, PROBE_MS);
    const client = admin();
    try {
      await client.metadata({ topics: [] });
    } finally {
      await client.close();
    }
    return undefined;
  } catch (error) {
    return explainKafkaFailure(error);
  }
}

/** The API server tells any account whose token it takes who it is. */
async function probeKubernetes(egress: Egress, settings: KubernetesSettings, signal: AbortSignal): Promise<OutsideFailure | undefined> {
  const cluster = new KubernetesApi(egress, settings);
  try {
    await cluster.create('/apis/authentication.k8s.io/v1/selfsubjectreviews', { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }, signal);
    return undefined;
  } catch (error) {
    if (error instanceof KubernetesRefusal) return explainStatus(error.status, new Headers());
    throw error;
  } finally {
    await cluster.close();
  }
}

/** Slack answers a hook that exists with 400 `no_text` or `invalid_payload`; one that does not with 403 or 404, or 400 `no_team`. */
function probeSlack(answer: EgressAnswer): OutsideFailure | undefined {
  if (answer.status === 400 && !/no_team|no_service|invalid_token/.test(answer.text)) return undefined;
  return unlessOk(answer);
}

function unlessOk(answer: EgressAnswer): OutsideFailure | undefined {
  return answer.status >= 200 && answer.status < 300 ? undefined : explainStatus(answer.status, answer.headers);
}

/** Where the providers begin when the connection does not say. */
export const PROVIDER_URLS = { anthropic: 'https://api.anthropic.com/v1', openai: 'https://api.openai.com/v1' } as const;

function modelList(settings: LlmSettings): { url: string; headers: Record<string, string> } {
  const base = settings.baseUrl ?? (settings.provider === 'anthropic' ? PROVIDER_URLS.anthropic : PROVIDER_URLS.openai);
  const url = `${base.replace(/\/+$/, '')}/models`;
  if (settings.provider === 'anthropic') return { url, headers: { 'x-api-key': settings.apiKey, 'anthropic-version': '2023-06-01' } };
  return { url, headers: { authorization: `Bearer ${settings.apiKey}` } };
}
