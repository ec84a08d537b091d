import { createHash } from 'node:crypto';
import type { Severity } from '../../schemas/neurons/definition.ts';
import type { PagerdutySettings, SlackSettings, SmtpSettings, WebhookSettings } from '../../schemas/rest/connections.ts';
import type { Egress, EgressAnswer } from '../connections/egress.ts';
import { explainFailure, explainStatus, type OutsideFailure } from '../connections/failure.ts';
import { explainSmtpFailure, smtpTransport } from '../connections/smtp-transport.ts';
import { webhookHeaders } from '../connections/webhook-signature.ts';
import type { Message } from './message.ts';

/** Connections that carry messages. */
export type CarrierSettings = SmtpSettings | SlackSettings | PagerdutySettings | WebhookSettings;
export const CARRIER_KINDS = ['smtp', 'slack', 'pagerduty', 'webhook'] as const;

/** Time one attempt has, milliseconds. */
const ATTEMPT_MS = 20_000;

/**
 * Hands a message over, once.
 * @param id the same in every attempt: receivers that know it drop repetitions.
 * @returns why it was not taken; undefined when it was.
 */
export async function carry(egress: Egress, settings: CarrierSettings, id: string, message: Message, signal: AbortSignal): Promise<OutsideFailure | undefined> {
  if (settings.kind === 'smtp') return mail(egress, settings, id, message);
  const limited = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]);
  const { url, headers, body } = request(settings, id, message);
  let answer: EgressAnswer;
  try {
    answer = await egress.request(url, { method: 'POST', headers, body, signal: limited, limitBytes: 64 * 1024 });
  } catch (error) {
    return explainFailure(error);
  }
  return answer.status >= 200 && answer.status < 300 ? undefined : explainStatus(answer.status, answer.headers);
}

function request(settings: SlackSettings | PagerdutySettings | WebhookSettings, id: string, message: Message): { url: string; headers: Record<string, string>; body: string } {
  const json = { 'content-type': 'application/json' };
  switch (settings.kind) {
    case 'slack':
      return { url: settings.url, headers: json, body: JSON.stringify(slackBody(message)) };
    case 'pagerduty':
      return { url: `${settings.baseUrl.replace(/\/+$/, '')}/v2/enqueue`, headers: json, body: JSON.stringify(pagerdutyBody(settings, message)) };
    case 'webhook': {
      const body = JSON.stringify(webhookBody(message));
      return { url: settings.url, headers: webhookHeaders(settings, id, body), body };
    }
  }
}

async function mail(egress: Egress, settings: SmtpSettings, id: string, message: Message): Promise<OutsideFailure | undefined> {
  try {
    const transport = await smtpTransport(egress, settings, ATTEMPT_MS);
    try {
      await transport.sendMail({
        from: settings.from,
        to: settings.to,
        subject: `${message.action === 'resolve' ? '[resolved] ' : ''}${oneLine(message.title)}`,
        text: [message.message, ...(message.link === undefined ? [] : ['', message.link])].join('\n'),
        messageId: `<${id}@hal9>`,
        headers: { 'Auto-Submitted': 'auto-generated', 'X-Priority': PRIORITY[message.severity] },
      });
    } finally {
      transport.close();
    }
    return undefined;
  } catch (error) {
    return explainSmtpFailure(error);
  }
}

const PRIORITY: Readonly<Record<Severity, string>> = { info: '5', warning: '3', critical: '1' };
const EMOJI: Readonly<Record<Severity, string>> = { info: ':information_source:', warning: ':warning:', critical: ':rotating_light:' };
/** Characters Slack shows of one section. */
const SLACK_SECTION = 3000;
/** Events API v2 refuses longer ones: summary and dedup_key. */
const PAGERDUTY_SUMMARY = 1024;
const PAGERDUTY_KEY = 255;

/** `text` alone is what every compatible server shows; blocks only Slack does. */
function slackBody(message: Message): unknown {
  const mark = message.action === 'resolve' ? ':white_check_mark:' : EMOJI[message.severity];
  const title = escapeSlack(oneLine(message.title));
  const text = escapeSlack(message.message).slice(0, SLACK_SECTION);
  return { text: [`${mark} *${title}*`, text, ...(message.link === undefined ? [] : [`<${message.link}|Open>`])].join('\n') };
}

/** https://api.slack.com/reference/surfaces/formatting#escaping; also keeps a message from mentioning a channel. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ */
function pagerdutyBody(settings: PagerdutySettings, message: Message): unknown {
  const common = { routing_key: settings.routingKey, dedup_key: boundedKey(message.dedupKey), event_action: message.action };
  if (message.action === 'resolve') return common;
  return {
    ...common,
    client: 'HAL9',
    ...(message.link === undefined ? {} : { links: [{ href: message.link, text: 'Open in HAL9' }] }),
    payload: { summary: oneLine(message.title).slice(0, PAGERDUTY_SUMMARY), source: 'hal9', severity: message.severity, custom_details: { message: message.message } },
  };
}

function boundedKey(key: string): string {
  return key.length <= PAGERDUTY_KEY ? key : createHash('sha256').update(key).digest('hex');
}

function webhookBody(message: Message): unknown {
  const { title, message: text, severity, link, dedupKey } = message;
  return {
    type: message.action === 'resolve' ? 'hal9.notification.resolved' : 'hal9.notification',
    timestamp: new Date().toISOString(),
    data: { title, message: text, severity, dedupKey, ...(link === undefined ? {} : { link }) },
  };
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
