// Runs in every page of a recording, before the page's own scripts, and tells the recorder what the person does: which element, in the words a flow
// finds it by, and what was done to it. What a page's scripts do (events that are not trusted) is none of that, and neither is what stands in fields
// for secrets: it never leaves the page.
(() => {
  const BINDING = 'hal9Record';
  const tell = globalThis[BINDING];
  if (typeof tell !== 'function') return;
  // Out of the page's sight: what it would say would become steps.
  delete globalThis[BINDING];

  /** Longest text an element is found by, characters: longer ones are content, which changes. */
  const LONGEST_TEXT = 80;
  const LONGEST_VALUE = 20_000;
  /** Types of `input` that hold a text, or something that is typed like one. */
  const NOT_TYPED = new Set(['checkbox', 'radio', 'button', 'submit', 'reset', 'image', 'file', 'hidden']);
  const CLICKABLE = 'a[href], button, input, select, textarea, summary, option, label, [contenteditable=""], [contenteditable=true], [onclick], [tabindex], [role=button], [role=link], [role=tab], [role=menuitem], [role=menuitemcheckbox], [role=menuitemradio], [role=option], [role=checkbox], [role=radio], [role=switch], [role=treeitem], [role=gridcell]';
  /** Roles whose name is what they show; https://www.w3.org/TR/wai-aria-1.2/#namefromcontent */
  const NAMED_BY_CONTENT = new Set(['button', 'link', 'tab', 'menuitem', 'menuitemcheckbox', 'menuitemradio', 'option', 'checkbox', 'radio', 'switch', 'treeitem', 'gridcell', 'cell', 'heading', 'columnheader', 'rowheader', 'tooltip', 'row']);
  /** Roles that arrow keys move in. */
  const MOVED_IN = new Set(['combobox', 'listbox', 'menu', 'menubar', 'menuitem', 'option', 'tab', 'tablist', 'tree', 'treeitem', 'grid', 'gridcell']);
  /** Roles an element is found by. */
  const FOUND_BY = new Set([...NAMED_BY_CONTENT, ...MOVED_IN, 'textbox', 'searchbox', 'spinbutton', 'slider', 'img']);
  /** Fields for secrets by their `autocomplete`, and which of a credential they hold. */
  const CREDENTIALS = { 'current-password': 'password', 'new-password': 'password', 'one-time-code': 'totp', 'username': 'username' };

  /** Fields that were for passwords once: showing what was typed makes it no less secret. */
  const secretFields = new WeakSet();

  const say = (event) => {
    // The recording may end at any moment; the page need not know.
    Promise.resolve(tell(event)).catch(() => undefined);
  };
  const squeezed = (text) => (text ?? '').replace(/[\s\u200b\u00ad]+/g, ' ').trim();
  const isElement = (node) => node !== null && node !== undefined && node.nodeType === Node.ELEMENT_NODE;
  const targetOf = (event) => event.composedPath().find(isElement);
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
  const isEditable = (element) => element.isContentEditable === true;
  const isTyped = (element) => element.localName === 'textarea' || (element.localName === 'input' && !NOT_TYPED.has(element.type));

  // What an element is, as assistive technology has it: the part of https://www.w3.org/TR/accname-1.2/ and https://www.w3.org/TR/html-aam-1.0/ that
  // people's pages are made of. Where it is wrong another way to the element is next in the chain.

  function roleOf(element) {
    const [said] = squeezed(element.getAttribute('role')).split(' ');
    if (said !== '') return said;
    switch (element.localName) {
      case 'a':
      case 'area':
        return element.hasAttribute('href') ? 'link' : undefined;
      case 'button':
        return 'button';
      case 'textarea':
        return 'textbox';
      case 'select':
        return element.multiple || element.size > 1 ? 'listbox' : 'combobox';
      case 'option':
        return 'option';
      case 'img':
        return element.getAttribute('alt') === '' ? undefined : 'img';
      case 'h1':
      case 'h2':
      case 'h3':
      case 'h4':
      case 'h5':
      case 'h6':
        return 'heading';
      case 'input':
        return roleOfInput(element);
      default:
        return undefined;
    }
  }

  function roleOfInput(element) {
    switch (element.type) {
      case 'button':
      case 'submit':
      case 'reset':
      case 'image':
        return 'button';
      case 'checkbox':
      case 'radio':
        return element.type;
      case 'range':
        return 'slider';
      case 'number':
        return 'spinbutton';
      case 'search':
        return element.hasAttribute('list') ? 'combobox' : 'searchbox';
      case 'text':
      case 'email':
      case 'tel':
      case 'url':
        return element.hasAttribute('list') ? 'combobox' : 'textbox';
      default:
        // Passwords, dates and colours have no role of their own.
        return undefined;
    }
  }

  function nameOf(element, role) {
    const referred = squeezed(element.getAttribute('aria-labelledby')).split(' ').filter(Boolean).map((id) => element.getRootNode().getElementById?.(id)).filter(isElement);
    const first = [referred.map((each) => shownText(each, element)).join(' '), element.getAttribute('aria-label'), labelOf(element)].map(squeezed).find((text) => text !== '');
    if (first !== undefined) return first;
    if (element.localName === 'input' && ['button', 'submit', 'reset'].includes(element.type)) return squeezed(element.value) || { submit: 'Submit', reset: 'Reset', button: '' }[element.type];
    if (element.localName === 'img' || element.type === 'image') return squeezed(element.getAttribute('alt') ?? element.getAttribute('title'));
    const content = NAMED_BY_CONTENT.has(role) ? squeezed(shownText(element)) : '';
    return content || squeezed(element.getAttribute('title')) || squeezed(element.getAttribute('placeholder'));
  }

  function labelOf(element) {
    return [...(element.labels ?? [])].map((label) => shownText(label, element)).join(' ');
  }

  /** What an element shows, fields in it left out. */
  function shownText(element, except) {
    if (element === except || element.getAttribute('aria-hidden') === 'true') return '';
    const label = squeezed(element.getAttribute('aria-label'));
    if (label !== '') return label;
    if (['input', 'select', 'textarea', 'script', 'style', 'noscript', 'template'].includes(element.localName)) return '';
    const style = getComputedStyle(element);
    if (style.display === 'none' || style.visibility === 'hidden') return '';
    if (element.localName === 'img') return element.getAttribute('alt') ?? '';
    const nodes = element.shadowRoot?.childNodes ?? (element.localName === 'slot' ? element.assignedNodes() : element.childNodes);
    const text = [...nodes].map((node) => (isElement(node) ? shownText(node, except) : node.nodeType === Node.TEXT_NODE ? node.data : '')).join('');
    return style.display === 'inline' || style.display === 'contents' ? text : ` ${text} `;
  }

  /** Ways to an element, the surest first; each finds it now, with `nth` where it finds others too. */
  function waysTo(element) {
    const root = element.getRootNode();
    const ways = [];
    const add = (way, same) => {
      const found = same.filter((each) => each === element || isShown(each));
      if (!found.includes(element)) return;
      ways.push(found.length === 1 ? way : { ...way, nth: found.indexOf(element) });
    };
    const all = (selector) => [...root.querySelectorAll(selector)];
    const isName = (text) => text !== '' && text.length <= LONGEST_TEXT;
    const marked = element.dataset?.testid;
    if (marked !== undefined && marked !== '') add({ testId: marked }, all(`[data-testid="${CSS.escape(marked)}"]`));
    const role = roleOf(element);
    const name = FOUND_BY.has(role) ? nameOf(element, role) : '';
    if (isName(name)) add({ role, name, exact: true }, all(`[role], ${element.localName}, a, button, input, select, textarea`).filter((each) => roleOf(each) === role && nameOf(each, role) === name));
    const label = squeezed(labelOf(element));
    if (isName(label)) add({ label }, all('input, select, textarea, button').filter((each) => squeezed(labelOf(each)).toLowerCase().includes(label.toLowerCase())));
    const placeholder = element.getAttribute('placeholder') ?? '';
    if (isName(placeholder)) add({ placeholder, exact: true }, all('[placeholder]').filter((each) => each.getAttribute('placeholder') === placeholder));
    const title = element.getAttribute('title') ?? '';
    if (isName(title)) add({ title, exact: true }, all('[title]').filter((each) => each.getAttribute('title') === title));
    // Playwright finds a text by the smallest element that holds it.
    const text = isTyped(element) || isEditable(element) || element.localName === 'select' ? '' : squeezed(element.textContent);
    if (isName(text) && name !== text && element.childElementCount === 0) add({ text, exact: true }, all(element.localName).filter((each) => each.childElementCount === 0 && squeezed(each.textContent) === text));
    ways.push({ css: pathTo(element, root) });
    return ways;
  }

  /** A CSS path: the last resort, layouts change. */
  function pathTo(element, root) {
    const isOnly = (selector) => root.querySelectorAll(selector).length === 1;
    const parts = [];
    for (let at = element; isElement(at); at = at.parentElement) {
      const named = at.getAttribute('name');
      for (const own of [at.id !== '' && !/\d{3}|^:/.test(at.id) ? `#${CSS.escape(at.id)}` : undefined, named === null ? undefined : `${at.localName}[name="${CSS.escape(named)}"]`]) {
        if (own !== undefined && isOnly(own)) return [own, ...parts].join(' > ');
      }
      const same = [...(at.parentNode?.children ?? [])].filter((each) => each.localName === at.localName);
      parts.unshift(same.length > 1 ? `${at.localName}:nth-of-type(${same.indexOf(at) + 1})` : at.localName);
    }
    return parts.join(' > ');
  }

  /** Where an element is: the ways to it, and the frame that holds it. A frame of another site is told from outside. */
  function placeOf(element) {
    let frame;
    try {
      frame = globalThis.frameElement ?? undefined;
    } catch {
      frame = undefined; // of another site
    }
    return { ways: waysTo(element), ...(frame === undefined ? {} : { frame: pathTo(frame, frame.getRootNode()) }) };
  }

  /** Which of a credential a field holds, if it is one for secrets. */
  function credentialOf(element) {
    const hints = squeezed(element.getAttribute('autocomplete')).toLowerCase().split(' ');
    if (element.type === 'password') secretFields.add(element);
    const hinted = hints.map((hint) => CREDENTIALS[hint]).find((field) => field !== undefined);
    if (secretFields.has(element) || getComputedStyle(element).webkitTextSecurity !== 'none') return hinted === 'totp' ? 'totp' : 'password';
    if (hinted !== undefined) return hinted;
    // The field before a password is the user's name.
    const fields = [...(element.form ?? element.getRootNode()).querySelectorAll('input')].filter((each) => ['text', 'email', 'tel', 'password'].includes(each.type) && isShown(each));
    const next = fields[fields.indexOf(element) + 1];
    return fields.includes(element) && next !== undefined && (next.type === 'password' || secretFields.has(next)) ? 'username' : undefined;
  }

  /** What is no credential and is not to be kept either, by the name a run is given it under: what is on a card. */
  function askedFor(element) {
    const hint = squeezed(element.getAttribute('autocomplete')).toLowerCase().split(' ').find((each) => each.startsWith('cc-'));
    return hint?.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
  }

  const secretsSeen = new MutationObserver((changes) => changes.forEach(({ target, oldValue }) => oldValue === 'password' && secretFields.add(target)));
  secretsSeen.observe(document, { subtree: true, attributes: true, attributeFilter: ['type'], attributeOldValue: true });

  const listen = (type, hear) =>
    globalThis.addEventListener(type, (event) => {
      const element = targetOf(event);
      if (event.isTrusted && element !== undefined) hear(event, element);
    }, { capture: true });

  listen('focusin', (_event, element) => {
    if (element.type === 'password') secretFields.add(element);
  });

  listen('input', (_event, element) => {
    const field = isTyped(element) ? element : isEditable(element) ? editableOf(element) : undefined;
    if (field === undefined) return;
    const into = placeOf(field);
    const credential = field.localName === 'input' ? credentialOf(field) : undefined;
    const asked = field.localName === 'input' ? askedFor(field) : undefined;
    if (credential !== undefined) say({ kind: 'type', into, secret: credential });
    else if (asked !== undefined) say({ kind: 'type', into, asked });
    else say({ kind: 'type', into, text: String(isTyped(field) ? field.value : field.innerText).slice(0, LONGEST_VALUE) });
  });

  function editableOf(element) {
    let field = element;
    while (isElement(field.parentElement) && isEditable(field.parentElement)) field = field.parentElement;
    return field;
  }

  /** A box or a button of a group that is being ticked: what a script ticks changes too, without the person. */
  let ticked;

  listen('change', (_event, element) => {
    if (element.localName === 'select') say({ kind: 'select', from: placeOf(element), options: [...element.selectedOptions].map((option) => squeezed(option.label) || option.value) });
    else if (element.localName !== 'input') return;
    else if (element === ticked) say({ kind: 'check', on: placeOf(element), checked: element.checked });
    else if (element.type === 'file') say({ kind: 'upload', into: placeOf(element), names: [...element.files].map(({ name }) => name) });
  });

  listen('click', (event, target) => {
    ticked = target.type === 'checkbox' || target.type === 'radio' ? target : undefined;
    const element = target.closest(CLICKABLE) ?? target;
    // A form that Enter sends clicks its button by itself: Enter is what the person did.
    if (event.detail === 0 && !element.contains(element.getRootNode().activeElement)) return;
    // What follows (typing, choosing, ticking) tells these.
    if (['select', 'option'].includes(element.localName) || (element.localName === 'label' && element.control !== null)) return;
    const role = roleOf(element);
    const opens = role === 'combobox' || element.readOnly === true;
    if ((isTyped(element) || isEditable(element)) && !opens) return;
    if (element.localName === 'input' && ['checkbox', 'radio', 'file'].includes(element.type)) return;
    if (element === document.documentElement || element === document.body) return;
    say({ kind: 'click', on: placeOf(element), button: 'left', times: event.detail, modifiers: modifiersOf(event) });
  });

  listen('auxclick', (event, target) => {
    if (event.button === 1) say({ kind: 'click', on: placeOf(target.closest(CLICKABLE) ?? target), button: 'middle', times: 1, modifiers: modifiersOf(event) });
  });

  // The browser's own menu is no part of the page; one that the page opens is.
  globalThis.addEventListener('contextmenu', (event) => {
    const element = targetOf(event);
    if (event.isTrusted && event.defaultPrevented && element !== undefined) say({ kind: 'click', on: placeOf(element.closest(CLICKABLE) ?? element), button: 'right', times: 1, modifiers: modifiersOf(event) });
  });

  function modifiersOf(event) {
    return Object.entries({ Alt: event.altKey, Control: event.ctrlKey, Meta: event.metaKey, Shift: event.shiftKey }).flatMap(([key, held]) => (held ? [key] : []));
  }

  listen('keydown', (event, element) => {
    if (event.isComposing) return;
    const { key } = event;
    if (key === 'Escape') return say({ kind: 'press', key });
    const isField = isTyped(element) || isEditable(element);
    if (key === 'Enter') {
      // These answer Enter with a click, or with a line.
      if (element.localName === 'textarea' || isEditable(element) || element.matches('a[href], button, summary, select, input[type=checkbox], input[type=radio], input[type=file], input[type=button], input[type=submit], input[type=reset], input[type=image]')) return;
      if (isField || element.matches('[tabindex], [role]')) say({ kind: 'press', key, on: placeOf(element) });
      return;
    }
    if (['ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight'].includes(key) && MOVED_IN.has(roleOf(element)) && element.localName !== 'select' && (key.startsWith('ArrowU') || key.startsWith('ArrowD') || !isField)) say({ kind: 'press', key, on: placeOf(element) });
  });

  // Going back by script is what a click did, not the person.
  for (const method of ['back', 'forward', 'go']) {
    const own = History.prototype[method];
    History.prototype[method] = function (...steps) {
      say({ kind: 'moves' });
      return Reflect.apply(own, this, steps);
    };
  }
})();
