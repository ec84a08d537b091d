import { HalError } from '../../schemas/errors.ts';
import { BrowserError, type BrowserErrorType } from './browser-error.ts';

/** What Playwright's call logs say, in words; the logs themselves quote the page and what was typed. */
const CAUSES: readonly (readonly [RegExp, string])[] = [
  [/intercepts pointer events/, 'another element covers it: an overlay may have to be closed first (`overlays`)'],
  [/element is not enabled/, 'the element is disabled'],
  [/element is not editable|readonly/i, 'the field cannot be edited'],
  [/element is not visible/, 'the element is not visible'],
  [/element is outside of the viewport/, 'the element is outside of the window'],
  [/element is not stable/, 'the element does not stop moving'],
  [/did not find some options/, 'the list has no such option'],
  [/strict mode violation/, 'more than one element fits: make the locator narrower, or say which by `nth`'],
  [/net::ERR_(PROXY|TUNNEL|SOCKS)_CONNECTION_FAILED/, 'the address is not allowed, or does not answer'],
  [/net::ERR_ABORTED|frame was detached|Navigation .* interrupted/, 'the navigation was given up'],
  [/net::ERR_([A-Z_]+)/, 'the page could not be loaded'],
  [/Target (page, context or browser )?(has been )?(closed|crashed)|Page crashed|page has been closed/i, 'the page is gone'],
];

/** A failure as it may be shown: the kind of it and one line, without anything of the page. */
export function explain(error: unknown): { readonly type: BrowserErrorType; readonly message: string } {
  if (error instanceof BrowserError) return { type: error.type, message: error.message };
  if (error instanceof HalError) return { type: 'StepFailed', message: error.message };
  const text = error instanceof Error ? error.message : String(error);
  const known = CAUSES.find(([pattern]) => pattern.test(text));
  const network = /net::(ERR_[A-Z_]+)/.exec(text)?.[1];
  const timedOut = error instanceof Error && error.name === 'TimeoutError';
  const cause = known?.[1] ?? (timedOut ? 'it did not become possible in time' : 'the browser refused it');
  return { type: /crashed/i.test(text) ? 'PageCrashed' : 'StepFailed', message: `${cause}${network === undefined ? '' : ` (${network})`}` };
}
