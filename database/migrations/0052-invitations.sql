-- Invitations: how a person gets their account. Found by the hash of the link's token before the organisation is known.
create table invitations (
  org_id uuid not null references organisations,
  id uuid not null,
  -- SHA-256 of the 256-bit token, which is in the link only.
  token_hash bytea not null unique,
  -- Where it was sent or who is meant. Personal data.
  email text,
  -- The user who gets a password by it; null when acceptance makes a user.
  user_id uuid,
  -- Bound to the new user.
  roles text[] not null default '{}',
  team_ids uuid[] not null default '{}',
  -- User who invited; null for keys and HAL9 itself. Their deactivation revokes what waits.
  invited_by uuid,
  -- Whether a mail server took the mail: only then is the address known to be the person's.
  mailed boolean not null default false,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  accepted_at timestamptz,
  accepted_by uuid,
  revoked_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, user_id) references users on delete cascade
);
create index invitations_by_inviter on invitations (org_id, invited_by) where invited_by is not null;
call hal9_guard('invitations', 'select', 'insert', 'update', 'delete');
call hal9_system_access('invitations', 'select', 'insert');
