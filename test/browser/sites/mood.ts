import { createHash } from 'node:crypto';

/** What a seed makes of a site: its words, its layout, how slow it is and what gets in the way. The same seed makes the same. */
export class Mood {
  readonly #seed: string;

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** From 0 to 1, the same for the same key. */
  chance(key: string): number {
    return createHash('sha256').update(`${this.#seed}\n${key}`).digest().readUInt32BE(0) / 2 ** 32;
  }

  /** One of several words for the same thing. */
  word(...words: readonly [string, ...string[]]): string {
    return words[Math.floor(this.chance(words.join('/')) * words.length)] ?? words[0];
  }

  shuffled<T>(key: string, items: readonly T[]): T[] {
    return items.map((item, index) => ({ item, rank: this.chance(`${key}/${String(index)}`) })).toSorted((one, other) => one.rank - other.rank).map(({ item }) => item);
  }

  /** An id or a class: it means nothing, and the next seed has another. */
  id(key: string): string {
    return `x${Math.floor(this.chance(`id/${key}`) * 2 ** 32).toString(36)}`;
  }

  /** A field that has its label in one of the ways that pages give it. */
  field(label: string, name: string, attributes = ''): string {
    const id = this.id(name);
    return this.word(
      `<label class=${this.id('label')}>${label} <input name=${name} ${attributes}></label>`,
      `<label for=${id}>${label}</label><span><input id=${id} name=${name} ${attributes}></span>`,
      `<span id=${id}>${label}</span> <input aria-labelledby=${id} name=${name} ${attributes}>`,
      `<input aria-label="${label}" name=${name} ${attributes}>`,
    );
  }

  choice(label: string, name: string, options: readonly string[]): string {
    const id = this.id(name);
    return `<label for=${id}>${label}</label> <select id=${id} name=${name}>${this.shuffled(name, options).map((option) => `<option>${option}</option>`).join('')}</select>`;
  }

  button(text: string): string {
    return this.word(`<button class=${this.id('button')}>${text}</button>`, `<input type=submit value="${text}" id=${this.id(text)}>`, `<button><span class=${this.id('icon')} aria-hidden=true>•</span> <span>${text}</span></button>`);
  }

  /** A form whose fields stand in an order of the seed's. */
  form(action: string, fields: readonly string[], button: string): string {
    return `<form method=post action="${action}" class=${this.id(action)}>${this.shuffled(action, fields).map((field) => `<p>${field}</p>`).join('')}${this.button(button)}</form>`;
  }
}
