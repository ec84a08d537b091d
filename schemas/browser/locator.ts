import { z } from 'zod';

/** Text with `{{ expression }}` in it; expressions are CEL over `input` and `vars`. */
export const templateText = z.string().max(20_000);

/** Roles of WAI-ARIA 1.2 by name, e.g. `button`; https://www.w3.org/TR/wai-aria-1.2/#role_definitions */
const role = z.string().regex(/^[a-z]+$/).max(40);

const WAYS = ['role', 'label', 'text', 'placeholder', 'title', 'altText', 'testId', 'css'] as const;

/** How an element is found: by one way, narrowed by the rest, with others to try when it finds none. */
export interface Locator {
  readonly role?: string | undefined;
  /** Accessible name, with `role`. */
  readonly name?: string | undefined;
  readonly label?: string | undefined;
  readonly text?: string | undefined;
  readonly placeholder?: string | undefined;
  readonly title?: string | undefined;
  readonly altText?: string | undefined;
  readonly testId?: string | undefined;
  readonly css?: string | undefined;
  readonly exact?: boolean | undefined;
  readonly hasText?: string | undefined;
  readonly has?: Locator | undefined;
  readonly within?: Locator | undefined;
  readonly frame?: string | undefined;
  readonly visible?: boolean | undefined;
  readonly nth?: number | string | undefined;
  readonly or?: readonly Locator[] | undefined;
}

export const locatorSchema: z.ZodType<Locator> = z
  .strictObject({
    role: role.optional().describe('ARIA role, e.g. `button`.'),
    name: templateText.optional().describe('Accessible name, with `role`.'),
    label: templateText.optional().describe('Text of the label of a field.'),
    text: templateText.optional().describe('Text of the element itself.'),
    placeholder: templateText.optional(),
    title: templateText.optional(),
    altText: templateText.optional(),
    testId: templateText.optional().describe('The attribute `data-testid`.'),
    css: z.string().max(2000).optional().describe('A CSS selector: the last resort, layouts change.'),
    exact: z.boolean().optional().describe('Whether texts must be equal, case included; default: contained, case ignored.'),
    hasText: templateText.optional().describe('Only elements with this text somewhere inside.'),
    get has() {
      return locatorSchema.optional().describe('Only elements that hold such an element.');
    },
    get within() {
      return locatorSchema.optional().describe('Only inside of this element.');
    },
    frame: z.string().max(500).optional().describe('CSS selector of the frame that holds it.'),
    visible: z.boolean().optional().describe('Only visible (or hidden) elements; default any.'),
    nth: z.union([z.int().min(-1000).max(1000), z.string().max(200)]).optional().describe('Which of several, from 0; negative from the end; a text is a CEL expression.'),
    get or() {
      return z.array(locatorSchema).max(10).optional().describe('Tried in this order when the first finds nothing.');
    },
  })
  .refine((value) => WAYS.filter((way) => value[way] !== undefined).length === 1, { error: `exactly one of ${WAYS.join(', ')} says how the element is found` })
  .refine((value) => value.name === undefined || value.role !== undefined, { error: '`name` goes with `role`' })
  .meta({ id: 'BrowserLocator' });
