import type { Mood } from './mood.ts';
import { escaped, type Answer, type Site, type Visit } from './moody-server.ts';

const MESSAGES = [
  { from: 'Bank', subject: 'Your statement', text: 'See enclosed.' },
  { from: 'Harbour office', subject: 'Berth 12', text: 'Your code is 839-117. Please confirm.' },
  { from: 'Ada', subject: 'Dinner', text: 'Friday?' },
];

/** A mail box: a message is read, answered and filed away. */
export function mailBox(mood: Mood): Site {
  const sent: string[] = [];
  const inbox = mood.shuffled('inbox', MESSAGES);
  const answer = ({ path, query, form, visitor }: Visit): Answer => {
    if (path === '/sign-in') {
      if (form?.get('password') !== undefined) {
        visitor.set('user', form.get('address') ?? '');
        return { redirect: '/' };
      }
      return { title: 'Mail', parts: [{ html: mood.form('/sign-in', [mood.field('Address', 'address', 'type=email'), mood.field('Password', 'password', 'type=password')], 'Open my mail') }] };
    }
    if (!visitor.has('user')) return { redirect: '/sign-in' };
    const message = inbox.find(({ subject }) => subject === query.get('subject'));
    const named = `subject=${encodeURIComponent(message?.subject ?? '')}`;
    switch (path) {
      case '/message':
        return { title: message?.subject ?? 'Gone', parts: [{ html: `<p>From ${message?.from ?? ''}</p><blockquote>${message?.text ?? ''}</blockquote>`, late: true }, { html: `<a href="/answer?${named}">${mood.word('Reply', 'Answer')}</a><form method=post action="/archive?${named}">${mood.button(mood.word('Archive', 'File away'))}</form>` }] };
      case '/answer':
        if (form !== undefined) {
          sent.push(`${form.get('subject') ?? ''}: ${form.get('text') ?? ''}${form.get('copy') === null ? '' : ' (copy)'}`);
          return { redirect: `/message?${named}` };
        }
        return { title: 'Write', parts: [{ html: mood.form(`/answer?${named}`, [mood.field('Subject', 'subject', `value="Re: ${message?.subject ?? ''}"`), '<label>Message <textarea name=text></textarea></label>', '<label><input type=checkbox name=copy> Keep a copy</label>'], 'Send') }] };
      case '/archive':
        inbox.splice(inbox.findIndex(({ subject }) => subject === message?.subject), 1);
        return { redirect: '/' };
      case '/sent':
        return { title: 'Sent', parts: [{ html: `<ul>${sent.map((text) => `<li>${escaped(text)}</li>`).join('')}</ul>`, late: true }] };
      default:
        return { title: 'Inbox', parts: [{ html: `<table>${inbox.map(({ from, subject }) => `<tr class=${mood.id(subject)}><td>${from}</td><td><a href="/message?subject=${encodeURIComponent(subject)}">${subject}</a></td></tr>`).join('')}</table><p>${String(inbox.length)} messages</p>`, late: true }] };
    }
  };
  return {
    name: 'mail-box',
    menu: { Inbox: '/', Sent: '/sent' },
    answer,
    happened: () => sent.filter((text) => text === 'Re: Berth 12: Confirmed: 839-117 (copy)').length,
    expected: { code: '839-117', left: 2 },
    steps: (url) => [
      { do: 'navigate', url },
      { do: 'type', into: { label: 'Address' }, text: 'grace@mail.example' },
      { do: 'type', into: { label: 'Password' }, text: 'anchors aweigh' },
      { do: 'click', on: { role: 'button', name: 'Open my mail' }, repeatable: true },
      { do: 'click', on: { role: 'link', name: 'Berth 12' } },
      { do: 'extract', as: 'code', on: { text: 'Your code is' }, match: '([0-9]{3}-[0-9]{3})' },
      { do: 'click', on: { role: 'link', name: 'Reply', or: [{ role: 'link', name: 'Answer' }] } },
      { do: 'type', into: { label: 'Message' }, text: 'Confirmed: {{ vars.code }}' },
      { do: 'check', on: { label: 'Keep a copy' } },
      { do: 'click', on: { role: 'button', name: 'Send' }, guard: { at: `${url}/sent`, seen: { text: 'Re: Berth 12' } } },
      { do: 'click', on: { role: 'button', name: 'Archive', or: [{ role: 'button', name: 'File away' }] }, guard: { at: url, seen: { text: '2 messages' } } },
      { do: 'wait', for: { text: '2 messages' } },
      { do: 'extract', as: 'left', on: { role: 'row' }, read: 'count', type: 'integer' },
      { do: 'click', on: { role: 'link', name: 'Sent' } },
      { do: 'assert', that: { text: 'Confirmed: 839-117' } },
      { do: 'set', as: 'outcome', value: '{"code": vars.code, "left": vars.left}' },
    ],
  };
}
