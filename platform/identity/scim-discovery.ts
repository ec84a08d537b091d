import { HalError } from '../../schemas/errors.ts';
import { URN } from '../../schemas/rest/scim.ts';

type Json = Readonly<Record<string, unknown>>;

const SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:Schema';
const RESOURCE_TYPE = 'urn:ietf:params:scim:schemas:core:2.0:ResourceType';

/** What this service can do (RFC 7643 5). @param base `<public address>/scim/v2`. */
export function serviceProviderConfig(base: string): Json {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'],
    patch: { supported: true },
    bulk: { supported: false, maxOperations: 0, maxPayloadSize: 0 },
    filter: { supported: true, maxResults: 200 },
    changePassword: { supported: false },
    sort: { supported: true },
    etag: { supported: true },
    authenticationSchemes: [{ type: 'oauthbearertoken', name: 'API key', description: 'An API key of HAL9 with the scope scim:write (or scim:read) as bearer token.', primary: true }],
    meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
  };
}

/** Kinds of resources (RFC 7643 6). */
export function resourceTypes(base: string): readonly Json[] {
  return [
    {
      schemas: [RESOURCE_TYPE],
      id: 'User',
      name: 'User',
      description: 'A person of the organisation.',
      endpoint: '/Users',
      schema: URN.user,
      schemaExtensions: [{ schema: URN.enterprise, required: false }],
      meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/User` },
    },
    {
      schemas: [RESOURCE_TYPE],
      id: 'Group',
      name: 'Group',
      description: 'A team of the organisation: roles bound to it are the roles of its members.',
      endpoint: '/Groups',
      schema: URN.group,
      meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/Group` },
    },
  ];
}

interface Attribute {
  readonly name: string;
  readonly type?: 'string' | 'boolean' | 'complex' | 'reference' | 'dateTime';
  readonly description: string;
  readonly required?: true;
  readonly multiValued?: true;
  readonly caseExact?: true;
  readonly mutability?: 'readOnly';
  readonly uniqueness?: 'server';
  readonly subAttributes?: readonly Attribute[];
}

const text = (name: string, description: string): Attribute => ({ name, description });

const USER_ATTRIBUTES: readonly Attribute[] = [
  { name: 'userName', description: 'What the person types to sign in.', required: true, uniqueness: 'server' },
  {
    name: 'name',
    type: 'complex',
    description: 'Parts of the name.',
    subAttributes: ['formatted', 'familyName', 'givenName', 'middleName', 'honorificPrefix', 'honorificSuffix'].map((name) => text(name, 'Part of the name.')),
  },
  text('displayName', 'The name that is shown.'),
  text('nickName', 'Casual name.'),
  text('title', 'Title in the company.'),
  text('userType', 'Relation to the company.'),
  text('preferredLanguage', 'Language, as in Accept-Language.'),
  text('locale', 'Locale for numbers and dates.'),
  text('timezone', 'Time zone of the Olson database.'),
  { name: 'active', type: 'boolean', description: 'Whether the person may sign in. False ends sessions and keys at once.' },
  {
    name: 'emails',
    type: 'complex',
    multiValued: true,
    description: 'E-mail addresses; HAL9 writes to the primary one.',
    subAttributes: [text('value', 'The address.'), text('type', '`work`, `home` or `other`.'), { name: 'primary', type: 'boolean', description: 'Whether it is the one to write to.' }, text('display', 'For show.')],
  },
  {
    name: 'groups',
    type: 'complex',
    multiValued: true,
    mutability: 'readOnly',
    description: 'Groups the person is a member of.',
    subAttributes: [
      { name: 'value', description: 'Id of the group.', mutability: 'readOnly' },
      { name: 'display', description: 'Name of the group.', mutability: 'readOnly' },
      { name: '$ref', type: 'reference', description: 'Address of the group.', mutability: 'readOnly' },
    ],
  },
];

const GROUP_ATTRIBUTES: readonly Attribute[] = [
  { name: 'displayName', description: 'Name of the team.', required: true, uniqueness: 'server' },
  {
    name: 'members',
    type: 'complex',
    multiValued: true,
    description: 'Users in the group. Groups in groups are arranged in HAL9.',
    subAttributes: [text('value', 'Id of the user.'), { name: 'display', description: 'User name.', mutability: 'readOnly' }, { name: '$ref', type: 'reference', description: 'Address of the user.', mutability: 'readOnly' }],
  },
];

const ENTERPRISE_ATTRIBUTES: readonly Attribute[] = [
  ...['employeeNumber', 'costCenter', 'organization', 'division', 'department'].map((name) => text(name, 'Place in the company.')),
  { name: 'manager', type: 'complex', description: 'Whom the person reports to.', subAttributes: [text('value', 'Id of the manager.'), text('displayName', 'Name of the manager.')] },
];

/** Attributes of each kind of resource (RFC 7643 7). */
export function schemas(base: string): readonly Json[] {
  return [
    schema(base, URN.user, 'User', 'A person of the organisation.', USER_ATTRIBUTES),
    schema(base, URN.enterprise, 'EnterpriseUser', 'Place in the company.', ENTERPRISE_ATTRIBUTES),
    schema(base, URN.group, 'Group', 'A team of the organisation.', GROUP_ATTRIBUTES),
  ];
}

/** One document of a list by its id. @throws {HalError} `NotFound`. */
export function documentNamed(documents: readonly Json[], id: string): Json {
  const document = documents.find((one) => one['id'] === id);
  if (document === undefined) throw new HalError('NotFound', 'no such resource');
  return document;
}

function schema(base: string, id: string, name: string, description: string, attributes: readonly Attribute[]): Json {
  return { schemas: [SCHEMA], id, name, description, attributes: attributes.map(described), meta: { resourceType: 'Schema', location: `${base}/Schemas/${id}` } };
}

function described({ name, type = 'string', description, required, multiValued, caseExact, mutability, uniqueness, subAttributes }: Attribute): Json {
  return {
    name,
    type,
    multiValued: multiValued ?? false,
    description,
    required: required ?? false,
    ...(type === 'complex' ? {} : { caseExact: caseExact ?? false }),
    mutability: mutability ?? 'readWrite',
    returned: 'default',
    uniqueness: uniqueness ?? 'none',
    ...(subAttributes === undefined ? {} : { subAttributes: subAttributes.map(described) }),
  };
}
