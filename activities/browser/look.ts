import type { Turn, TurnAnswer } from '../../schemas/browser/turn.ts';
import type { LiveSession } from './live-session.ts';
import { snapshotOf } from './snapshot.ts';

const LOOK_MS = 10_000;

/**
 * What the page of a session shows now.
 * @param redact takes secrets out of a text.
 */
export async function lookAt(session: LiveSession, look: Turn['look'], value: unknown, redact: (text: string) => string): Promise<TurnAnswer> {
  const page = session.page();
  const [title, snapshot, picture] = await Promise.all([
    page.title(),
    look.snapshot ? snapshotOf(page, redact) : undefined,
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
