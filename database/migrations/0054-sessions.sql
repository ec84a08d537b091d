-- Sessions of browsers, second factors, signing keys of service tokens, throttles of sign-in (docs/decisions/0110 to 0117).

alter table sign_in_challenges drop constraint sign_in_challenges_kind_check;
alter table sign_in_challenges add constraint sign_in_challenges_kind_check
  check (kind in ('oidc', 'saml', 'second-factor', 'webauthn-registration', 'webauthn-assertion', 'totp-registration', 'password-reset'));

-- A session is a family of tokens, one after the other in the cookie of one browser.
create table sessions (
  org_id uuid not null references organisations,
  id uuid not null,
  -- Of a person, or of an API key that somebody typed into a browser.
  user_id uuid,
  api_key_id uuid,
  -- How it began: `password`, `passkey`, `oidc`, `saml`, `ldap`, `api-key`, `impersonation`.
  method text not null,
  provider_id uuid,
  -- The administrator who acts as the user, and the organisation they are of.
  impersonator_org_id uuid,
  impersonator_id uuid,
  -- Where it may be used; see HAL9_REGION.
  region text not null,
  created_at timestamptz not null default now(),
  -- The end whatever happens.
  expires_at timestamptz not null,
  -- The last use, written every minute at most; the idle limit counts from here.
  last_seen_at timestamptz not null default now(),
  -- When a second factor, or failing that the password, was last shown; sensitive routes ask for a recent time.
  verified_at timestamptz not null default now(),
  -- Whether a second factor was shown, here or at the provider.
  second_factor boolean not null default false,
  ended_at timestamptz,
  -- `sign-out`, `revoked`, `token-reuse`, `password-changed`, `provider-logout`.
  end_reason text,
  risk smallint not null default 0 check (risk between 0 and 100),
  -- Address, agent, CSRF secret, what logout at the provider needs: JSON sealed by the key ring, bound to the row's id.
  sealed bytea not null,
  -- HMAC of the provider's session index or `sid`, for logout that the provider starts.
  provider_session bytea,
  primary key (org_id, id),
  foreign key (org_id, user_id) references users on delete cascade,
  foreign key (org_id, api_key_id) references api_keys on delete cascade,
  foreign key (impersonator_org_id, impersonator_id) references users (org_id, id) on delete cascade,
  check ((user_id is null) <> (api_key_id is null))
);
create index sessions_by_user on sessions (org_id, user_id, created_at desc);
create index sessions_by_provider_session on sessions (org_id, provider_id, provider_session) where provider_session is not null;
create index sessions_expiry on sessions (expires_at);
call hal9_guard('sessions', 'select', 'insert', 'update');
call hal9_system_access('sessions', 'select', 'update', 'delete');

create table session_tokens (
  org_id uuid not null,
  -- SHA-256 of the 256-bit token.
  token_hash bytea not null unique,
  session_id uuid not null,
  issued_at timestamptz not null default now(),
  -- The first use. Until then the browser may not have received it, and its predecessor stays good.
  used_at timestamptz,
  -- When its successor was first used. Good for a short overlap more; later it is somebody's copy.
  replaced_at timestamptz,
  primary key (org_id, token_hash),
  foreign key (org_id, session_id) references sessions on delete cascade
);
create index session_tokens_by_session on session_tokens (org_id, session_id);
call hal9_guard('session_tokens', 'select', 'insert', 'update');
call hal9_system_access('session_tokens', 'select', 'delete');

-- Addresses and agents a person has signed in from, as HMACs: what makes the next sign-in usual.
create table sign_in_traits (
  org_id uuid not null,
  user_id uuid not null,
  kind text not null check (kind in ('address', 'agent', 'hour')),
  trait bytea not null,
  seen bigint not null default 1,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  primary key (org_id, user_id, kind, trait),
  foreign key (org_id, user_id) references users on delete cascade
);
call hal9_guard('sign_in_traits', 'select', 'insert', 'update', 'delete');
call hal9_system_access('sign_in_traits', 'select', 'delete');

create table user_factors (
  org_id uuid not null,
  id uuid not null,
  user_id uuid not null,
  kind text not null check (kind in ('totp', 'webauthn', 'recovery')),
  -- What the person calls it; personal data.
  name text not null,
  -- TOTP secret, sealed by the key ring and bound to the row's id.
  sealed bytea,
  -- The last TOTP time step accepted: a code works once.
  last_step bigint,
  -- WebAuthn: the credential's id, public key (COSE), signature counter, and where it lives.
  credential_id bytea,
  public_key bytea,
  counter bigint,
  transports text[] not null default '{}',
  backed_up boolean,
  -- Recovery code: SHA-256 of its 80 random bits.
  code_hash bytea,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, user_id) references users on delete cascade,
  check (case kind when 'totp' then sealed is not null when 'webauthn' then credential_id is not null and public_key is not null and counter is not null else code_hash is not null end)
);
create index user_factors_by_user on user_factors (org_id, user_id);
create unique index user_factors_credential on user_factors (org_id, credential_id) where credential_id is not null;
call hal9_guard('user_factors', 'select', 'insert', 'update', 'delete');

-- Keys that sign service tokens; of the installation, not of an organisation.
create table signing_keys (
  kid text primary key,
  algorithm text not null,
  public_jwk jsonb not null,
  -- Private JWK, sealed by the key ring for the installation and bound to the kid.
  sealed bytea not null,
  created_at timestamptz not null default now(),
  -- No new token is signed by it after this.
  retires_at timestamptz not null,
  -- The last token it signed has expired by then.
  expires_at timestamptz not null
);
grant select, insert, update, delete on signing_keys to hal9_system;

-- Counters of failed sign-ins by account and address, shared by all API processes. Keys are HMACs.
create table sign_in_throttle (
  key varchar(255) primary key,
  points integer not null default 0,
  expire bigint
);
create index sign_in_throttle_expiry on sign_in_throttle (expire);
grant select, insert, update, delete on sign_in_throttle to hal9_system;
