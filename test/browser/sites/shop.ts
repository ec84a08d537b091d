import type { Mood } from './mood.ts';
import { escaped, type Answer, type Site, type Visit } from './moody-server.ts';

const GOODS = ['Desk lamp', 'Floor lamp', 'Lamp oil', 'Reading chair', 'Bookcase', 'Tea kettle'];
const ORDER = 'O-4711';

/** A shop: search, cart, checkout, account. */
export function shop(mood: Mood): Site {
  const orders: string[] = [];
  const addToCart = mood.word('Add to cart', 'Add to basket', 'Put into the cart');
  const placeOrder = mood.word('Place order', 'Buy now');
  const answer = ({ path, query, form, visitor }: Visit): Answer => {
    const cart = visitor.get('cart');
    switch (path) {
      case '/search': {
        const wanted = (query.get('q') ?? '').toLowerCase();
        const found = GOODS.filter((name) => name.toLowerCase().includes(wanted));
        return { title: 'Results', parts: [{ html: `<p>${String(found.length)} found</p><ul>${mood.shuffled('found', found).map((name) => `<li><a href="/goods?name=${encodeURIComponent(name)}">${name}</a></li>`).join('')}</ul>`, late: true }] };
      }
      case '/goods': {
        const name = query.get('name') ?? '';
        return { title: escaped(name), parts: [{ html: mood.form(`/cart?name=${encodeURIComponent(name)}`, [mood.choice('Colour', 'colour', ['Red', 'Green', 'Black']), mood.field('Quantity', 'quantity', 'type=number value=1')], addToCart) }] };
      }
      case '/cart':
        if (form !== undefined) {
          visitor.set('cart', `${form.get('quantity') ?? ''} x ${query.get('name') ?? ''}, ${form.get('colour') ?? ''}`);
          return { redirect: '/cart' };
        }
        return { title: 'Your cart', parts: [{ html: cart === undefined ? '<p>Nothing yet</p>' : `<p>${escaped(cart)}</p><a href="/checkout">Checkout</a>`, late: true }] };
      case '/checkout':
        if (cart === undefined) return { redirect: '/cart' };
        if (form !== undefined) {
          orders.push(`${cart} to ${form.get('name') ?? ''}, ${form.get('street') ?? ''}`);
          visitor.delete('cart');
          return { redirect: '/thanks' };
        }
        return { title: 'Checkout', parts: [{ html: mood.form('/checkout', [mood.field('Full name', 'name'), mood.field('Street', 'street'), mood.choice('Delivery', 'delivery', ['Standard', 'Express'])], placeOrder) }] };
      case '/thanks':
        return { title: 'Thank you', parts: [{ html: `<p>Your order is <b>${ORDER}</b></p>`, late: true }] };
      case '/account':
        return { title: 'Account', parts: [{ html: `<table><tr><th>Order</th><th>What</th></tr>${orders.map((order) => `<tr><td>${ORDER}</td><td>${escaped(order)}</td></tr>`).join('')}</table>`, late: true }] };
      default:
        return { title: 'The shop', parts: [{ html: `<form action="/search">${mood.field('Search', 'q')}${mood.button('Find')}</form>` }] };
    }
  };
  return {
    name: 'shop',
    menu: { Home: '/', Cart: '/cart', Account: '/account' },
    answer,
    happened: () => orders.filter((order) => order === '2 x Desk lamp, Green to Grace Hopper, Harbour Road 1').length,
    expected: { number: ORDER, rows: 1 },
    steps: (url) => [
      { do: 'navigate', url },
      { do: 'type', into: { label: 'Search' }, text: 'lamp' },
      { do: 'click', on: { role: 'button', name: 'Find' } },
      { do: 'click', on: { role: 'link', name: 'Desk lamp' } },
      { do: 'select', from: { label: 'Colour' }, options: ['Green'] },
      { do: 'type', into: { label: 'Quantity' }, text: '2' },
      { do: 'click', on: { role: 'button', name: 'Add to cart', or: [{ role: 'button', name: 'basket' }, { css: 'main form button, main form input[type=submit]' }] }, repeatable: true },
      { do: 'assert', that: { text: '2 x Desk lamp, Green' } },
      { do: 'click', on: { role: 'link', name: 'Checkout' } },
      { do: 'type', into: { label: 'Full name' }, text: 'Grace Hopper' },
      { do: 'type', into: { label: 'Street' }, text: 'Harbour Road 1' },
      { do: 'select', from: { label: 'Delivery' }, options: ['Express'] },
      { do: 'click', on: { role: 'button', name: 'Place order', or: [{ role: 'button', name: 'Buy now' }] }, guard: { at: `${url}/account`, seen: { text: ORDER } } },
      { do: 'extract', as: 'number', on: { text: 'Your order is' }, match: '(O-[0-9]+)' },
      { do: 'click', on: { role: 'link', name: 'Account' } },
      { do: 'wait', for: { text: ORDER } },
      { do: 'extract', as: 'rows', table: { role: 'table' } },
      { do: 'set', as: 'outcome', value: '{"number": vars.number, "rows": vars.rows.size()}' },
    ],
  };
}
