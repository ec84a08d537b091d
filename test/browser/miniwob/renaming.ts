/**
 * A script for the beginning of a page after which no element has the id or the classes that its author gave it, nor anything that refers to
 * them, and the page works as before: its own scripts and style sheets still find elements by the old names. Who looks from outside (a flow)
 * finds the new ones, which mean nothing and are others for each seed.
 */
export function renamingScript(seed: string): string {
  return `(${RENAME})(${JSON.stringify(seed)});`;
}

const RENAME = String.raw`(seed) => {
  const renamed = new Map();
  const old = new Map();
  const hash = (text) => {
    let value = 2166136261;
    for (const letter of seed + '/' + text) value = Math.imul(value ^ letter.charCodeAt(0), 16777619) >>> 0;
    return value.toString(36);
  };
  const toNew = (name) => {
    if (name === '' || old.has(name)) return name;
    if (!renamed.has(name)) {
      const other = 'n' + hash(name) + renamed.size.toString(36);
      renamed.set(name, other);
      old.set(other, name);
    }
    return renamed.get(name);
  };
  const toOld = (name) => old.get(name) ?? name;
  const each = (text, change) => text.split(/(\s+)/).map((part) => (part.trim() === '' ? part : change(part))).join('');
  const REFERENCES = ['id', 'class', 'for', 'list', 'form', 'headers', 'aria-labelledby', 'aria-controls', 'aria-describedby', 'aria-owns', 'aria-activedescendant', 'aria-flowto', 'aria-details'];

  const { getAttribute, setAttribute } = Element.prototype;
  const rename = (element) => {
    for (const attribute of REFERENCES) {
      const value = getAttribute.call(element, attribute);
      if (value === null) continue;
      const next = each(value, toNew);
      if (next !== value) setAttribute.call(element, attribute, next);
    }
  };
  const renameBelow = (node) => {
    if (!(node instanceof Element)) return;
    rename(node);
    for (const element of node.getElementsByTagName('*')) rename(element);
  };

  // Old and new names are looked for: what was just made, or is not in the page yet, has the old ones still.
  const UNESCAPE = /\\([0-9a-fA-F]{1,6}\s?|.)/g;
  const plain = (name) => name.replace(UNESCAPE, (_, part) => (/^[0-9a-fA-F]/.test(part) ? String.fromCodePoint(parseInt(part, 16)) : part));
  const selector = (text) =>
    String(text).replace(/\[\s*(id|for|class)\s*=\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*\]|\[[^\]]*\]|"[^"]*"|'[^']*'|([#.])((?:\\[0-9a-fA-F]{1,6}\s?|\\.|[\w-]|[^\x00-\x7f])+)/g, (whole, attribute, double, single, bare, sign, name) => {
      if (attribute !== undefined) return ':is(' + whole + ',[' + attribute + '="' + each(double ?? single ?? bare, toNew) + '"])';
      return sign === undefined ? whole : ':is(' + whole + ',' + sign + toNew(plain(name)) + ')';
    });
  const patch = (holder, method, change) => {
    const original = holder[method];
    if (original !== undefined) holder[method] = function (...given) { return change.call(this, original, ...given); };
  };
  for (const holder of [Document.prototype, DocumentFragment.prototype, Element.prototype]) {
    for (const method of ['querySelector', 'querySelectorAll', 'matches', 'webkitMatchesSelector', 'closest']) patch(holder, method, function (original, text) { return original.call(this, selector(text)); });
    patch(holder, 'getElementsByClassName', function (_, names) { return this.querySelectorAll(String(names).trim().split(/\s+/).map((name) => '.' + CSS.escape(name)).join('')); });
    patch(holder, 'getElementById', function (original, name) { return original.call(this, toNew(String(name))) ?? original.call(this, name); });
  }
  patch(Element.prototype, 'getAttribute', function (original, name) {
    const value = original.call(this, name);
    return value !== null && REFERENCES.includes(String(name).toLowerCase()) ? each(value, toOld) : value;
  });
  for (const [holder, property] of [[Element.prototype, 'id'], [Element.prototype, 'className'], [HTMLLabelElement.prototype, 'htmlFor'], [Attr.prototype, 'value']]) {
    const { get, set } = Object.getOwnPropertyDescriptor(holder, property);
    Object.defineProperty(holder, property, { configurable: true, enumerable: true, set, get() {
      const value = get.call(this);
      return typeof value === 'string' && (property !== 'value' || REFERENCES.includes(this.name)) ? each(value, toOld) : value;
    } });
  }
  const { contains, add, remove } = DOMTokenList.prototype;
  DOMTokenList.prototype.contains = function (name) { return contains.call(this, name) || contains.call(this, toNew(String(name))); };
  DOMTokenList.prototype.remove = function (...names) { remove.call(this, ...names, ...names.map((name) => toNew(String(name)))); };
  DOMTokenList.prototype.toggle = function (name, force) {
    const wanted = force ?? !this.contains(name);
    if (wanted) add.call(this, name);
    else this.remove(name);
    return wanted;
  };

  const restyle = (rules) => {
    for (const rule of rules) {
      if (rule.selectorText !== undefined && !rule.selectorText.includes(':is(')) rule.selectorText = selector(rule.selectorText);
      if (rule.cssRules !== undefined) restyle(rule.cssRules);
    }
  };
  const restyleAll = () => {
    for (const sheet of document.styleSheets) restyle(sheet.cssRules);
  };
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === 'attributes') rename(target);
      for (const node of addedNodes) {
        renameBelow(node);
        if (node.nodeName === 'STYLE') restyleAll();
      }
    }
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: REFERENCES });
  document.addEventListener('DOMContentLoaded', restyleAll);
  window.addEventListener('load', restyleAll);
}`;
