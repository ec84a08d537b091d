-- Identity: people of an organisation, what they may, how they sign in. A person is a user of one organisation; a parent
-- organisation's roles reach down into its descendants where the role says so (docs/decisions/0100).

alter table organisations
  -- Short name in sign-in addresses (`/sign-in/<slug>`), chosen at creation.
  add column slug text unique check (slug ~ '^[a-z0-9](-?[a-z0-9]){1,39}$'),
  add column parent_id uuid references organisations check (parent_id <> org_id),
  -- Where the organisation's sessions and data are meant to live, e.g. `eu-1`; `local` on one machine.
  add column region text not null default 'local',
  add column suspended_at timestamptz;
create index organisations_children on organisations (parent_id) where parent_id is not null;

create table users (
  org_id uuid not null references organisations,
  id uuid not null,
  -- What the person types to sign in; compared without case.
  user_name text not null,
  email text,
  email_verified boolean not null default false,
  display_name text,
  -- The provisioning client's own id (SCIM externalId).
  external_id text,
  -- False after deprovisioning: no sign-in, no session, no key of theirs works.
  active boolean not null default true,
  -- PHC string of Argon2id; null for people who sign in elsewhere.
  password_hash text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_sign_in_at timestamptz,
  primary key (org_id, id)
);
create unique index users_by_name on users (org_id, lower(user_name));
create index users_by_email on users (org_id, lower(email));
create index users_by_external_id on users (org_id, external_id) where external_id is not null;
call hal9_guard('users', 'select', 'insert', 'update', 'delete');
call hal9_system_access('users', 'select', 'insert', 'update');

create table teams (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  -- A team has what its ancestors have.
  parent_id uuid,
  external_id text,
  -- Feature toggles: `{"<feature>": true|false}`; a child's value wins over its parent's.
  features jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  foreign key (org_id, parent_id) references teams
);
create unique index teams_by_name on teams (org_id, lower(name));
call hal9_guard('teams', 'select', 'insert', 'update', 'delete');
call hal9_system_access('teams', 'select');

create table team_members (
  org_id uuid not null,
  team_id uuid not null,
  user_id uuid not null,
  primary key (org_id, team_id, user_id),
  foreign key (org_id, team_id) references teams on delete cascade,
  foreign key (org_id, user_id) references users on delete cascade
);
create index team_members_by_user on team_members (org_id, user_id);
call hal9_guard('team_members', 'select', 'insert', 'delete');
call hal9_system_access('team_members', 'select');

-- An organisation's own roles; the predefined ones are code (platform/identity/roles.ts).
create table roles (
  org_id uuid not null references organisations,
  name text not null check (name ~ '^[a-z][a-z0-9-]{1,39}$'),
  description text not null default '',
  -- Roles whose scopes this one has too.
  inherits text[] not null default '{}',
  scopes text[] not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, name)
);
call hal9_guard('roles', 'select', 'insert', 'update', 'delete');
call hal9_system_access('roles', 'select');

-- Who has which role, under which conditions.
create table role_bindings (
  org_id uuid not null references organisations,
  id uuid not null,
  user_id uuid,
  team_id uuid,
  role text not null,
  -- `schemas/rest/roles.ts` says what may stand here: time, network, resource attribute, risk.
  conditions jsonb not null default '{}',
  -- Which identity provider's group mapping made it; null for one that a person made.
  provider_id uuid,
  created_at timestamptz not null default now(),
  primary key (org_id, id),
  foreign key (org_id, user_id) references users on delete cascade,
  foreign key (org_id, team_id) references teams on delete cascade,
  check ((user_id is null) <> (team_id is null))
);
create index role_bindings_by_user on role_bindings (org_id, user_id) where user_id is not null;
create index role_bindings_by_team on role_bindings (org_id, team_id) where team_id is not null;
call hal9_guard('role_bindings', 'select', 'insert', 'update', 'delete');
call hal9_system_access('role_bindings', 'select', 'insert');

-- Where an organisation's people prove who they are, besides a password here.
create table identity_providers (
  org_id uuid not null references organisations,
  id uuid not null,
  kind text not null check (kind in ('oidc', 'saml', 'ldap')),
  name text not null,
  -- `okta`, `entra-id`, `google`, `active-directory`, or null.
  preset text,
  -- What is no secret: issuer, client id, certificates, search base. Shape by kind in schemas/rest/identity-providers.ts.
  settings jsonb not null,
  -- Client secret, bind password, SP key: JSON sealed by the key ring for the organisation, bound to the row's id.
  secrets bytea,
  enabled boolean not null default true,
  -- Roles of everybody who signs in by it, and of the provider's groups: `{"default": ["viewer"], "groups": {"ops": ["operator"]}}`.
  role_mapping jsonb not null default '{}',
  -- Whether somebody unknown becomes a user at the first sign-in.
  provisions boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id)
);
create unique index identity_providers_by_name on identity_providers (org_id, lower(name));
call hal9_guard('identity_providers', 'select', 'insert', 'update', 'delete');
call hal9_system_access('identity_providers', 'select');

-- Under which name a provider knows a user. The subject is the provider's own stable id, never an e-mail address.
create table user_identities (
  org_id uuid not null,
  provider_id uuid not null,
  subject text not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  last_sign_in_at timestamptz,
  primary key (org_id, provider_id, subject),
  foreign key (org_id, provider_id) references identity_providers on delete cascade,
  foreign key (org_id, user_id) references users on delete cascade
);
create index user_identities_by_user on user_identities (org_id, user_id);
call hal9_guard('user_identities', 'select', 'insert', 'update', 'delete');
call hal9_system_access('user_identities', 'select');

-- A sign-in under way: OIDC state, nonce and verifier, SAML request id, WebAuthn challenge, second factor owed. Used once.
create table sign_in_challenges (
  org_id uuid not null references organisations,
  id uuid not null,
  kind text not null check (kind in ('oidc', 'saml', 'second-factor', 'webauthn-registration', 'webauthn-assertion', 'totp-registration')),
  -- JSON sealed by the key ring, bound to the row's id.
  sealed bytea not null,
  expires_at timestamptz not null,
  consumed_at timestamptz,
  primary key (org_id, id)
);
create index sign_in_challenges_expiry on sign_in_challenges (expires_at);
call hal9_guard('sign_in_challenges', 'select', 'insert', 'update', 'delete');
call hal9_system_access('sign_in_challenges', 'select', 'delete');

-- Assertions that were accepted: none is accepted again until it would be refused for its age.
create table used_assertions (
  org_id uuid not null,
  provider_id uuid not null,
  -- SHA-256 of the assertion's id.
  assertion_hash bytea not null,
  expires_at timestamptz not null,
  primary key (org_id, provider_id, assertion_hash),
  foreign key (org_id, provider_id) references identity_providers on delete cascade
);
create index used_assertions_expiry on used_assertions (expires_at);
call hal9_guard('used_assertions', 'select', 'insert');
call hal9_system_access('used_assertions', 'select', 'delete');
