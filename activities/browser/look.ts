import type { Turn, TurnAnswer } from '../../schemas/browser/turn.ts';
import type { LiveSession } from './live-session.ts';

/** Longest snapshot that is told, characters: what reads it pays by length. */
const MAX_SNAPSHOT = 40_000;
const LOOK_MS = 10_000;

/**
 * What the page of a session shows now.
 * @param redact takes secrets out of a text.
 */
export async function lookAt(session: LiveSession, look: Turn['look'], value: unknown, redact: (text: string) => string): Promise<TurnAnswer> {
  const page = session.page();
  const [title, snapshot, picture] = await Promise.all([
    page.title(),
    look.snapshot ? snapshotOf(session, redact) : undefined,
    look.picture ? page.screenshot({ type: 'jpeg', quality: 70, timeout: LOOK_MS, animations: 'disabled', mask: [page.locator('input[type=password]')] }) : undefined,
  ]);
  return {
    url: redact(page.url()),
    title: redact(title),
    tabs: session.tabs().length,
    ...(value === undefined ? {} : { value: JSON.parse(redact(JSON.stringify(value))) as unknown }),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(picture === undefined ? {} : { picture: picture.toString('base64') }),
  };
}

/** The page as assistive technology has it (roles, names, texts), without what stands in password fields. */
export async function snapshotOf(session: LiveSession, redact: (text: string) => string): Promise<string> {
  const page = session.page();
  const [tree, hidden] = await Promise.all([page.ariaSnapshot({ timeout: LOOK_MS }), page.locator('input[type=password]').evaluateAll((fields: readonly { value?: unknown }[]) => fields.map(({ value }) => (typeof value === 'string' ? value : '')))]);
  const typed = hidden.filter((text) => text.length > 0);
  const clean = redact(typed.reduce((text, secret) => text.replaceAll(secret, '[secret]'), tree));
  return clean.length <= MAX_SNAPSHOT ? clean : `${clean.slice(0, MAX_SNAPSHOT)}\n# ${String(clean.length - MAX_SNAPSHOT)} more characters are left out`;
}
