import type { Mood } from './mood.ts';
import { escaped, type Answer, type Site, type Visit } from './moody-server.ts';

const THREADS = ['Tomatoes in the shade', 'When to cut roses', 'Snails again', 'A pond without a pump'];
const REPLY = 'Copper tape, and <b>patience</b>.';
const PER_PAGE = 3;

/** A forum: signing in, threads over pages, a reply. */
export function forum(mood: Mood): Site {
  const replies = ['Beer traps.', 'Coffee grounds?', 'Nematodes.', 'Ducks!'];
  const answer = ({ path, query, form, visitor }: Visit): Answer => {
    const user = visitor.get('user');
    switch (path) {
      case '/sign-in':
        if (form?.get('password') === 'spade and fork') {
          visitor.set('user', form.get('user') ?? '');
          return { redirect: '/' };
        }
        return { title: 'Sign in', parts: [{ html: mood.form('/sign-in', [mood.field('User', 'user'), mood.field('Password', 'password', 'type=password')], mood.word('Sign in', 'Log in')) }] };
      case '/board':
        return { title: 'Gardening', parts: [{ html: `<ol>${mood.shuffled('threads', THREADS).map((title) => `<li><a href="/thread?title=${encodeURIComponent(title)}&page=1">${title}</a> <small>by somebody</small></li>`).join('')}</ol>`, late: true }] };
      case '/thread': {
        const title = query.get('title') ?? '';
        const address = `/thread?title=${encodeURIComponent(title)}`;
        if (form !== undefined) {
          if (user === undefined) return { redirect: '/sign-in' };
          replies.push(`${form.get('reply') ?? ''} (${user})`);
          return { redirect: `${address}&page=${String(Math.ceil(replies.length / PER_PAGE))}` };
        }
        const page = Number(query.get('page') ?? 1);
        const more = page * PER_PAGE < replies.length ? `<a href="${address}&page=${String(page + 1)}" aria-label="Next page">›</a>` : '';
        const answers = replies.slice((page - 1) * PER_PAGE, page * PER_PAGE).map((reply) => `<article>${escaped(reply)}</article>`).join('');
        return { title: escaped(title), parts: [{ html: answers + more, late: true }, { html: user === undefined ? '<p>Sign in to reply</p>' : `<form method=post action="${address}"><label>Your reply <textarea name=reply></textarea></label>${mood.button(mood.word('Post', 'Send reply'))}</form>` }] };
      }
      default:
        return { title: 'The forum', parts: [{ html: `<p>${user === undefined ? 'Welcome' : `Welcome back, ${escaped(user)}`}</p><a href="/board">Gardening</a> <a href="/board">Cooking</a>` }] };
    }
  };
  return {
    name: 'forum',
    menu: { 'Front page': '/', 'Sign in': '/sign-in' },
    answer,
    happened: () => replies.filter((reply) => reply === `${REPLY} (grace)`).length,
    expected: { replies: ['Ducks!', `${REPLY} (grace)`] },
    steps: (url) => [
      { do: 'navigate', url },
      { do: 'click', on: { role: 'link', name: 'Sign in' } },
      { do: 'type', into: { label: 'User' }, text: 'grace' },
      { do: 'type', into: { label: 'Password' }, text: 'spade and fork' },
      { do: 'click', on: { role: 'button', name: 'Sign in', or: [{ role: 'button', name: 'Log in' }] }, repeatable: true },
      { do: 'wait', for: { text: 'Welcome back, grace' } },
      { do: 'click', on: { role: 'link', name: 'Gardening' } },
      { do: 'click', on: { role: 'link', name: 'Snails again' } },
      { do: 'wait', for: { text: 'Beer traps.' } },
      { do: 'click', on: { role: 'link', name: 'Next page' } },
      { do: 'wait', for: { text: 'Ducks!' } },
      { do: 'type', into: { label: 'Your reply' }, text: REPLY },
      { do: 'click', on: { role: 'button', name: 'Post', or: [{ role: 'button', name: 'Send reply' }] }, guard: { at: `${url}/thread?title=Snails%20again&page=2`, seen: { text: 'Copper tape' } } },
      { do: 'wait', for: { on: { role: 'article', hasText: 'Copper tape' } } },
      { do: 'extract', as: 'replies', on: { role: 'article' }, all: true },
      { do: 'set', as: 'outcome', value: '{"replies": vars.replies}' },
    ],
  };
}
