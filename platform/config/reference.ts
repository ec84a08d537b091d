import { z } from 'zod';
import { configSchema } from './config.ts';

/** One setting as documentation shows it. */
export interface SettingReference {
  readonly name: string;
  readonly section: string;
  readonly description: string;
  /** `text`, `number 1 to 200`, `true or false`, or the values it may have. */
  readonly type: string;
  /** As written in the environment; undefined when unset by default. */
  readonly preset: string | undefined;
  readonly secret: boolean;
}

/** Which page section a setting belongs to; the first match counts. */
const SECTIONS: readonly (readonly [RegExp, string])[] = [
  [/^(DATABASE_|HAL9_POSTGRES_)/, 'PostgreSQL'],
  [/^(TEMPORAL_|HAL9_TEMPORAL_)/, 'Temporal'],
  [/^HAL9_(AGENT_|HOST_ID)/, 'Host agent'],
  [/^HAL9_COLLECTOR_/, 'Collector'],
  [/^HAL9_OPERATOR_/, 'Kubernetes operator'],
  [/^HAL9_(HOST|PORT|PUBLIC_URL|TLS_|CORS_|BODY_)/, 'API'],
  [/^/, 'Processes'],
];

const jsonSetting = z.object({
  description: z.string(),
  type: z.string().optional(),
  enum: z.array(z.string()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  default: z.union([z.string(), z.number(), z.boolean()]).optional(),
  secret: z.boolean().optional(),
});

/** Every setting, in the order of the schema within each section. */
export function settingsReference(): SettingReference[] {
  const { properties } = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' });
  const settings = Object.entries(properties ?? {}).map(([name, schema]): SettingReference => {
    const setting = jsonSetting.parse(schema);
    const section = SECTIONS.find(([pattern]) => pattern.test(name))?.[1] ?? '';
    const preset = setting.default === undefined ? undefined : String(setting.default);
    return { name, section, description: setting.description, type: typeOf(setting), preset: preset === '' ? undefined : preset, secret: setting.secret === true };
  });
  const order = [...new Set(SECTIONS.map(([, section]) => section))];
  return settings.sort((a, b) => order.indexOf(a.section) - order.indexOf(b.section));
}

/** `.env.example`: every setting, commented out at its default. */
export function environmentExample(): string {
  const lines = ['# Settings of HAL9, each at its default. Generated from platform/config by `npm run generate`; do not edit.'];
  for (const [section, settings] of bySection()) {
    lines.push('', `## ${section}`);
    for (const { name, description, preset, secret } of settings) lines.push('', `# ${description}${secret ? ' Secret.' : ''}`, `# ${name}=${preset ?? ''}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The reference page. */
export function referencePage(): string {
  const lines = [
    '# Configuration',
    '',
    'Every setting is an environment variable, read once at the start; an empty one counts as unset. A wrong one ends the process',
    'with exit code 2 and a message that names it, never its value. Settings marked secret are never logged.',
    'Generated from `platform/config` by `npm run generate`.',
  ];
  for (const [section, settings] of bySection()) {
    lines.push('', `## ${section}`, '', '| setting | type | default | meaning |', '| --- | --- | --- | --- |');
    for (const { name, type, preset, description, secret } of settings) {
      lines.push(`| \`${name}\` | ${type}${secret ? ', secret' : ''} | ${preset === undefined ? '' : `\`${preset}\``} | ${description.replaceAll('|', '\\|')} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Names of the settings that must never reach a log. */
export function secretSettings(): string[] {
  return settingsReference().filter(({ secret }) => secret).map(({ name }) => name);
}

function bySection(): [string, SettingReference[]][] {
  return Object.entries(Object.groupBy(settingsReference(), ({ section }) => section)).map(([section, settings]) => [section, settings ?? []]);
}

function typeOf(setting: z.output<typeof jsonSetting>): string {
  if (setting.enum !== undefined) return setting.enum.join(', ');
  if (setting.type === 'integer' || setting.type === 'number') return setting.maximum === undefined ? `number from ${setting.minimum ?? 0}` : `number ${setting.minimum ?? 0} to ${setting.maximum}`;
  return 'text';
}
