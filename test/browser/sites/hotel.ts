import type { Mood } from './mood.ts';
import { escaped, type Answer, type Site, type Visit } from './moody-server.ts';

const HOUSES = [['Harbour View', 140], ['The Old Mill', 95], ['Station Inn', 110], ['Lighthouse', 180]] as const;

/** A booking site: a search, the cheapest of its offers, a room, a guest. */
export function hotel(mood: Mood): Site {
  const bookings: string[] = [];
  const answer = ({ path, query, form, visitor }: Visit): Answer => {
    const house = query.get('house') ?? '';
    switch (path) {
      case '/offers':
        if (form !== undefined) {
          for (const [name, value] of form) visitor.set(name, value);
          return { redirect: '/offers' };
        }
        return { title: `Rooms in ${escaped(visitor.get('place') ?? '')}`, parts: [{ html: `<ul>${mood.shuffled('houses', HOUSES).map(([name, price]) => `<li class=${mood.id(name)}><h2>${name}</h2><span>${String(price)} € a night</span> <a href="/rooms?house=${encodeURIComponent(name)}">Choose</a></li>`).join('')}</ul>`, late: true }] };
      case '/rooms':
        if (form !== undefined) {
          visitor.set('room', form.get('room') ?? '');
          visitor.set('breakfast', form.get('breakfast') === null ? 'none' : 'breakfast');
          return { redirect: `/guest?house=${encodeURIComponent(house)}` };
        }
        return { title: escaped(house), parts: [{ html: mood.form(`/rooms?house=${encodeURIComponent(house)}`, ['<label><input type=radio name=room value=single> Single room</label>', '<label><input type=radio name=room value=double> Double room</label>', '<label><input type=checkbox name=breakfast> Breakfast</label>'], mood.word('Continue', 'Next')) }] };
      case '/guest':
        if (form !== undefined) {
          bookings.push([house, visitor.get('room'), visitor.get('breakfast'), visitor.get('arrival'), form.get('guest')].join(', '));
          return { redirect: '/booked' };
        }
        return { title: 'Who comes', parts: [{ html: mood.form(`/guest?house=${encodeURIComponent(house)}`, [mood.field('Guest', 'guest'), mood.field('Mail', 'mail', 'type=email'), '<label><input type=checkbox required> I accept the terms</label>'], mood.word('Book', 'Confirm booking')) }] };
      case '/booked':
        return { title: 'Booked', parts: [{ html: bookings.map((booking) => `<p>Confirmed: ${escaped(booking)}</p>`).join(''), late: true }] };
      default:
        return { title: 'Where to', parts: [{ html: mood.form('/offers', [mood.field('Place', 'place'), mood.field('Arrival', 'arrival', 'type=date'), mood.choice('Nights', 'nights', ['1', '2', '3'])], 'Search') }] };
    }
  };
  return {
    name: 'hotel',
    menu: { Start: '/', 'My bookings': '/booked' },
    answer,
    happened: () => bookings.filter((booking) => booking === 'The Old Mill, double, breakfast, 2031-05-04, Grace Hopper').length,
    expected: 'The Old Mill, double, breakfast, 2031-05-04, Grace Hopper',
    steps: (url) => [
      { do: 'navigate', url },
      { do: 'type', into: { label: 'Place' }, text: 'Whitby' },
      { do: 'type', into: { label: 'Arrival' }, text: '2031-05-04' },
      { do: 'select', from: { label: 'Nights' }, options: ['3'] },
      { do: 'click', on: { role: 'button', name: 'Search' }, repeatable: true },
      { do: 'wait', for: { text: 'a night' } },
      { do: 'extract', as: 'offers', list: { role: 'listitem', hasText: 'a night' }, fields: { price: { match: '([0-9]+) € a night', type: 'number' } } },
      { do: 'set', as: 'prices', value: 'vars.offers.map(offer, offer.price)' },
      { do: 'click', on: { role: 'link', name: 'Choose', nth: 'vars.prices.indexOf(vars.prices.lowest())' } },
      { do: 'check', on: { label: 'Double room' } },
      { do: 'check', on: { label: 'Breakfast' } },
      { do: 'click', on: { role: 'button', name: 'Continue', or: [{ role: 'button', name: 'Next' }] }, repeatable: true },
      { do: 'type', into: { label: 'Guest' }, text: 'Grace Hopper' },
      { do: 'type', into: { label: 'Mail' }, text: 'grace@mail.example' },
      { do: 'check', on: { label: 'I accept the terms' } },
      { do: 'click', on: { role: 'button', name: 'Book', exact: true, or: [{ role: 'button', name: 'Confirm booking' }] }, guard: { at: `${url}/booked`, seen: { text: 'Confirmed: ' } } },
      { do: 'extract', as: 'outcome', on: { text: 'Confirmed: ' }, match: 'Confirmed: (.*)' },
    ],
  };
}
