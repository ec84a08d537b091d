import { Webhook } from 'standardwebhooks';
import type { WebhookSettings } from '../../schemas/rest/connections.ts';

/**
 * Headers of a webhook message. With a secret they sign it as Standard Webhooks 1.0 say
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 * @param id the same in every attempt, so that the receiver can drop repetitions.
 */
export function webhookHeaders(settings: Pick<WebhookSettings, 'headers' | 'secret'>, id: string, body: string): Record<string, string> {
  const at = new Date();
  return {
    ...settings.headers,
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    ...(settings.secret === undefined ? {} : { 'webhook-signature': new Webhook(settings.secret).sign(id, at, body) }),
  };
}
