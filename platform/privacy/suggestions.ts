import type { Column } from './catalog.ts';

export interface Suggestion {
  readonly table: string;
  readonly column: string;
  readonly category: string;
  /** What speaks for it: the name, or so many of the values looked at. */
  readonly because: string;
}

/** By the words of a column's name; the first that fits. Categories are Fides' taxonomy. */
const NAMES: readonly (readonly [RegExp, string])[] = [
  [/(^|_)e?_?mails?(_?address)?(_|$)|email/, 'user.contact.email'],
  [/(^|_)(phone|mobile|msisdn|tel|telephone|fax)(_|$)|phone/, 'user.contact.phone_number'],
  [/(^|_)(ssn|social_security|tax_id|tin|national_id|passport|id_card)(_|$)/, 'user.government_id'],
  [/(^|_)(iban|bic|account_number|bank_account|ccn|card_number|pan)(_|$)/, 'user.financial.bank_account'],
  [/(^|_)(birth|birthday|dob|date_of_birth|birth_date|birthdate)(_|$)/, 'user.demographic.date_of_birth'],
  [/(^|_)(gender|sex)(_|$)/, 'user.demographic.gender'],
  [/(^|_)(ip|ip_address|ipaddr|remote_addr|client_ip)(_|$)/, 'user.device.ip_address'],
  [/(^|_)(user_agent|device_id|cookie|cookie_id|fingerprint)(_|$)/, 'user.device'],
  [/(^|_)(lat|lng|lon|latitude|longitude|geo|location)(_|$)/, 'user.location'],
  [/(^|_)(password|passwd|secret|token|api_key)(_|$)/, 'user.authorization'],
  [/(^|_)(street|address_?line\d?|house|house_number)(_|$)/, 'user.contact.address.street'],
  [/(^|_)(zip|zipcode|postcode|postal_code|plz)(_|$)/, 'user.contact.address.postal_code'],
  [/(^|_)(city|town)(_|$)/, 'user.contact.address.city'],
  [/(^|_)(first_?name|last_?name|given_?name|family_?name|sur_?name|full_?name|display_?name|nick_?name|user_?name)(_|$)/, 'user.name'],
  [/^name$/, 'user.name'],
  [/(^|_)(customer|user|person|member|patient|employee|subscriber|contact|account)_?id$/, 'user.unique_id'],
  [/(^|_)(note|notes|comment|comments|message|description|free_text|body|remarks?)(_|$)/, 'user.content'],
];

/** By what values look like. */
const VALUES: readonly (readonly [RegExp, string, string])[] = [
  [/[^\s@<>"',;:{}[\]]+@[^\s@<>"',;:{}[\]]+\.[A-Za-z]{2,}/, 'user.contact.email', 'an e-mail address'],
  [/^\+?\d[\d ()./-]{7,18}\d$/, 'user.contact.phone_number', 'a telephone number'],
  [/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/, 'user.financial.bank_account', 'an IBAN'],
  [/^(\d{1,3}\.){3}\d{1,3}$/, 'user.device.ip_address', 'an IP address'],
  [/^\d{3}-\d{2}-\d{4}$/, 'user.government_id.national_identification_number', 'a social security number'],
];

/** Share of the values looked at that must look alike. */
const ENOUGH = 0.5;

/**
 * What a column nobody annotated may hold.
 * @param samples some of its values, as text; not kept.
 */
export function suggest(table: string, column: Column, samples: readonly string[]): Suggestion | undefined {
  for (const [pattern, category, looks] of VALUES) {
    const alike = samples.filter((value) => pattern.test(value) && !(category === 'user.contact.phone_number' && /^\d{4}-\d\d-\d\d/.test(value))).length;
    if (alike > 0 && alike / samples.length >= ENOUGH) return { table, column: column.name, category, because: `${alike} of ${samples.length} values hold ${looks}` };
  }
  const words = column.name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').replace(/[^A-Za-z0-9]+/g, '_').toLowerCase();
  const named = NAMES.find(([pattern]) => pattern.test(words));
  return named === undefined ? undefined : { table, column: column.name, category: named[1], because: 'its name' };
}
