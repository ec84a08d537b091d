import { element } from './element.js';

/**
 * Fields for a JSON Schema (2020-12) of an object, with a switch to plain JSON for what fields cannot say.
 * @returns the element, `read` that answers the value (throws with what is wrong) and `write` that fills it.
 */
export function schemaForm(schema, id) {
  const properties = Object.entries(schema.properties ?? {});
  const required = new Set(schema.required ?? []);
  const fields = properties.map(([name, property]) => fieldOf(name, resolved(property, schema), required.has(name), id));
  const json = element('textarea', { rows: 10, spellcheck: 'false', 'aria-label': 'Input as JSON', class: 'code' });
  const asFields = element('div', { class: 'fields' }, ...(fields.length === 0 ? [element('p', { class: 'note' }, 'It takes no input.')] : fields.map(({ row }) => row)));
  const asJson = element('div', { hidden: '' }, json);
  let plain = properties.length === 0 && schema.type !== 'object';
  const toggle = element('button', { type: 'button', class: 'quiet', click: () => turn(!plain) }, '');
  const fromFields = () => Object.fromEntries(fields.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== undefined));
  const turn = (next) => {
    if (next && !plain) json.value = JSON.stringify(fromFields(), null, 2);
    plain = next;
    asFields.hidden = plain;
    asJson.hidden = !plain;
    toggle.textContent = plain ? 'Fields' : 'As JSON';
  };
  if (plain) json.value = '{}';
  turn(plain);
  return {
    made: element('div', { class: 'schema' }, element('div', { class: 'schema-head' }, element('span', {}, 'Input'), toggle), asFields, asJson),
    read: () => (plain ? parsed(json.value, 'the input') : fromFields()),
    write(value) {
      json.value = JSON.stringify(value, null, 2);
      turn(true);
    },
  };
}

/** Follows references into `$defs` and takes the part of a union that is not null. */
function resolved(property, root) {
  if (typeof property.$ref === 'string') return resolved(property.$ref.split('/').slice(1).reduce((at, part) => at?.[part], root) ?? {}, root);
  const choices = (property.anyOf ?? property.oneOf)?.filter((choice) => choice.type !== 'null');
  return choices?.length === 1 ? { ...resolved(choices[0], root), description: property.description, default: property.default } : property;
}

function fieldOf(name, property, required, form) {
  const id = `${form}-${name}`;
  const preset = property.default;
  const control = controlOf(property, { id, name, ...(required && property.type !== 'boolean' ? { required: '' } : {}) }, preset);
  const about = [property.description, limits(property)].filter(Boolean).join(' ');
  const row = element('div', { class: property.type === 'boolean' ? 'field check' : 'field' },
    element('label', { for: id }, name, required && preset === undefined ? element('span', { class: 'required', title: 'required' }, ' *') : ''),
    control,
    about === '' ? undefined : element('small', {}, about),
  );
  return { name, row, read: () => valueOf(control, property, name, preset) };
}

function controlOf(property, attributes, preset) {
  if (Array.isArray(property.enum)) {
    const options = property.enum.map((value) => element('option', { value: JSON.stringify(value), ...(value === preset ? { selected: '' } : {}) }, String(value)));
    return element('select', attributes, ...('required' in attributes || preset !== undefined ? [] : [element('option', { value: '' }, 'not set')]), ...options);
  }
  if (property.type === 'boolean') return element('input', { type: 'checkbox', ...attributes, ...(preset === true ? { checked: '' } : {}) });
  if (property.type === 'integer' || property.type === 'number') {
    return element('input', { type: 'number', step: property.type === 'integer' ? 1 : 'any', ...(property.minimum > -1e9 ? { min: property.minimum } : {}), ...(property.maximum < 1e9 ? { max: property.maximum } : {}), ...attributes, ...(preset === undefined ? {} : { value: preset }) });
  }
  if (property.type === 'string') return element('input', { type: 'text', autocomplete: 'off', ...(property.maxLength === undefined ? {} : { maxlength: property.maxLength }), ...attributes, ...(preset === undefined ? {} : { value: preset }) });
  return element('textarea', { rows: 3, class: 'code', spellcheck: 'false', placeholder: property.type === 'array' ? '[ ] as JSON' : 'JSON', ...attributes }, preset === undefined ? '' : JSON.stringify(preset));
}

function limits({ minimum, maximum, format, type }) {
  if (type === 'integer' || type === 'number') {
    const [least, most] = [minimum > -1e9 ? minimum : undefined, maximum < 1e9 ? maximum : undefined];
    if (least !== undefined && most !== undefined) return `${least} to ${most}.`;
    return least === undefined ? '' : `At least ${least}.`;
  }
  return format === undefined ? '' : `A ${format}.`;
}

function valueOf(control, property, name, preset) {
  if (control.type === 'checkbox') return control.checked === (preset ?? false) ? undefined : control.checked;
  const text = control.value;
  if (text === '') return undefined;
  if (Array.isArray(property.enum)) return JSON.parse(text);
  if (control.type === 'number') return Number(text);
  return property.type === 'string' ? text : parsed(text, name);
}

function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON: ${error.message}`, { cause: error });
  }
}
