const SVG = new Set(['svg', 'g', 'rect', 'text', 'path', 'title', 'circle', 'line']);

/** An element with attributes and children; strings become text nodes. Functions listen to the event of their name; `undefined` is left out. */
export function element(name, attributes = {}, ...children) {
  const made = SVG.has(name) ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key, value);
    else if (value !== undefined) made.setAttribute(key, String(value));
  }
  made.append(...children.filter((child) => child !== undefined));
  return made;
}
